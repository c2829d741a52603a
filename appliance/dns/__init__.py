"""Names: the `Resolver` that everything is handed, the real one, and the records to publish."""
