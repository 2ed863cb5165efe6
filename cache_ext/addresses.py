"""Which addresses are those of the host itself."""

from __future__ import annotations

import ipaddress
from functools import lru_cache

_KNOWN = 1_024


@lru_cache(_KNOWN)
def is_loopback(address: str) -> bool:
    """Tell whether *address* is an IP address that only this host can come from; other text is none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return (mapped or found).is_loopback
