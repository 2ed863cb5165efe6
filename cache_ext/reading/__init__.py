"""Serving what is there: from this process' copies, or from the shared store in one round trip."""
