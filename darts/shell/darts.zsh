_darts() {
    local -a found
    found=(${(f)"$(darts _complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then
        compadd -S '' -- ${(M)found:#*[.=]}
        compadd -- ${found:#*[.=]}
    else
        compset -P '*='
        _files
    fi
}
compdef _darts darts
