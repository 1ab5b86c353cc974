_darts() {
    local IFS=$'\n'
    COMPREPLY=($(darts _complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [[ ${COMPREPLY[*]} == *[.=] ]]; then compopt -o nospace 2>/dev/null; fi
}
complete -o default -F _darts darts
