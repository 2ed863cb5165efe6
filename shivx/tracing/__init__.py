"""Traces by OpenTelemetry, if its variables ask for them; nothing of it is imported else."""
