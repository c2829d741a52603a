"""Rules: facts in, verdicts out. Nothing here touches a socket, a file or the clock."""
