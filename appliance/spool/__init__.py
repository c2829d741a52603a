"""The queue on disk: what was accepted, what was tried, what became of it."""
