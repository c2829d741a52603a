"""Who may sign in: administrators and API tokens, kept in accounts.db."""
