function __darts
    darts _complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null
    or __fish_complete_path (commandline -ct)
end
complete -c darts -f -a '(__darts)'
