"""The one root daemon: a closed list of typed actions behind a unix socket."""
