"""Measurements. Nothing here is a test: figures depend on the machine, and are compared within one run."""
