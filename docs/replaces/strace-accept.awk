# Counts accepted connections by peer and process in what
# `strace -f -e trace=accept,accept4 -o FILE` wrote.

# A call that waited is two lines: the second one, which says "resumed", has the peer.
/accept4?(\(| resumed>).* = [0-9]+$/ {
    if (match($0, /inet_(addr|pton)\([^"]*"([^"]+)"/, found))
        accepts[found[2] " pid " $1]++
}

END {
    PROCINFO["sorted_in"] = "@ind_str_asc"
    for (who in accepts)
        print accepts[who], who
}
