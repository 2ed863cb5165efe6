"""Explaining, after the fact, what became of a key or of a request."""
