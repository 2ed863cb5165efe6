"""What a cache counts in all its processes, and what to do about it."""
