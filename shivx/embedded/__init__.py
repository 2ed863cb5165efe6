"""A private Valkey for those who run ShivX without a server of their own; see docs/embedded-valkey.md."""

from shivx.embedded.client import EmbeddedValkey
from shivx.embedded.errors import EmbeddedUnavailable

__all__ = ["EmbeddedUnavailable", "EmbeddedValkey"]
