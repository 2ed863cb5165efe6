"""ShivX: market data over HTTP, cached so that an exchange is asked once per fact and lifetime."""

from __future__ import annotations

from typing import Any

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    """Load the factory on demand: it imports everything, and its parts import this package."""
    if name == "create_app":
        from shivx.app import create_app  # noqa: PLC0415

        return create_app
    raise AttributeError(name)
