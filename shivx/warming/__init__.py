"""Loading ahead of clients: the pairs that are set, and those that were asked for most in the last hour."""
