"""Who may do what: accounts, their API keys, and who stands behind a request."""
