"""Small programs that use the cache; each runs as it stands, and a test runs it."""
