"""Whose quota a request without an account costs: that of the address it comes from."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

UNKNOWN = "address:unknown"
"""Of all whose address cannot be told, as behind a Unix socket without a proxy that says it."""
_IPV6_PREFIX = 64
"""Bits: what one customer is given at least; within it he has as many addresses as he likes."""
_WITH_PORT = re.compile(r"\[(?P<six>[^\]]*)\](?::\d+)?|(?P<four>[0-9.]+):\d+")
_KNOWN = 16_384


@lru_cache(_KNOWN)
def address_subject(address: str) -> str:
    """Return the subject of *address*: of an IPv6 address its /64; IPv4 within IPv6 is IPv4.

    Args:
        address: REMOTE_ADDR; some proxies add a port, some systems a zone.
    """
    if match := _WITH_PORT.fullmatch(address):
        address = match["six"] or match["four"] or ""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return f"address:{ipaddress.ip_network((found.packed, _IPV6_PREFIX), strict=False)}"
        found = found.ipv4_mapped
    return f"address:{found}"
