"""The HTTP face of ShivX: views, their parameters and their errors."""
