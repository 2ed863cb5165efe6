"""What goes wrong with the embedded Valkey: it cannot be had just now."""

from __future__ import annotations

from shivx.errors import ShivxError


class EmbeddedUnavailable(ShivxError, ConnectionError):
    """The embedded Valkey could not be reached or started; the message says why and names its log.

    Also a builtin ``ConnectionError``: whoever calls `EmbeddedValkey.ensure` on the way to a connection
    may treat it like any refused connection, without knowing ShivX.
    """
