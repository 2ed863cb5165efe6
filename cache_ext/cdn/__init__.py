"""A CDN in front: answers carry names by which it can be told to forget them, and invalidations tell it."""
