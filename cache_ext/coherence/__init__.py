"""What keeps all copies honest: invalidations, the backplane, and what waits while Redis is away."""
