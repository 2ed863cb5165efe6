"""A page that shows how a cache is, for any Flask application."""
