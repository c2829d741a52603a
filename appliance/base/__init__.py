"""Tools that every room may use: time, files, subprocesses, control sockets, findings."""
