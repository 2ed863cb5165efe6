"""Where people get in: the page to log in at, and the one-time link of who runs the service for himself."""
