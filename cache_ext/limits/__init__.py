"""Limits of requests: a sliding window, counted once for all workers and hosts."""
