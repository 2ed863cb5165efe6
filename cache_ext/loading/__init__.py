"""Asking the origin: once per lifetime for all threads, processes and hosts."""
