"""Which version this is."""

from __future__ import annotations

VERSION = "0.1.0"
"""As pyproject.toml has it."""
