"""What the relay remembers between sessions, and may lose without losing mail."""
