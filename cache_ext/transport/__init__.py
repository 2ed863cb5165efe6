"""The way to Redis: one pool, one breaker, one time budget a request."""
