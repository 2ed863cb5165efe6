"""The headers of answers, as the document describes them."""

from __future__ import annotations

from collections.abc import Mapping

_WHOLE = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}

HEADERS: Mapping[str, tuple[str, Mapping[str, object], object]] = {
    "X-Request-ID": ("That of the request, or one made for it.", _TEXT, "0b1f77d6a1c94bb2"),
    "X-RateLimit-Limit": ("Requests in any 60 seconds.", _WHOLE, 60),
    "X-RateLimit-Remaining": ("Of these that are left now.", _WHOLE, 45),
    "X-RateLimit-Reset": ("Unix second at which the next is free; now if any is left.", _WHOLE, 1790000000),
    "RateLimit-Policy": ("Tier, requests and seconds of the window.", _TEXT, '"anonymous";q=60;w=60'),
    "RateLimit": ("Tier, what is left, seconds until more is.", _TEXT, '"anonymous";r=45;t=12'),
    "X-Content-Type-Options": ("A body is of the type it says.", _TEXT, "nosniff"),
    "Content-Security-Policy": (
        "What a browser may do with it.",
        _TEXT,
        "default-src 'none'; frame-ancestors 'none'",
    ),
    "X-Cache": (
        "HIT: nobody waited for the exchange. STALE: past its ttl, marked in the body too.",
        {"type": "string", "enum": ["HIT", "MISS", "STALE", "BYPASS"]},
        "HIT",
    ),
    "Cache-Status": ("Where the answer came from (RFC 9211).", _TEXT, "shivx; hit; ttl=4"),
    "Age": ("Seconds since the oldest of its parts was loaded.", _WHOLE, 1),
    "ETag": ("Validator; sent back as If-None-Match it gets 304.", _TEXT, '"5f0c9a3be1d24786"'),
    "Cache-Control": (
        "How long it may be kept, and served stale.",
        _TEXT,
        "public, max-age=5",
    ),
    "Vary": ("Request headers that choose between answers.", _TEXT, "Accept-Encoding"),
    "Location": ("Where the job tells how far it is.", _TEXT, "/api/ml/jobs/warm-5f0c9a3be1d24786"),
    "Retry-After": ("Seconds after which to ask again.", {"type": "integer", "minimum": 1}, 12),
    "WWW-Authenticate": ("How to say who you are.", _TEXT, 'Bearer realm="ShivX"'),
    "Set-Cookie": ("The session.", _TEXT, "__Host-session=…; Path=/; Secure; HttpOnly; SameSite=Lax"),
}
"""By name: what it says, what it may be, an example."""

EVERY = ("X-Request-ID", "X-Content-Type-Options", "Content-Security-Policy")
OF_DOOR = ("X-Cache", "Cache-Status")
"""Of all that passes the HTTP cache, problems too."""
LIMITED = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")
KEPT = ("X-Cache", "Cache-Status", "Age", "ETag", "Cache-Control", "Vary")
PRIVATE = ("Cache-Control",)
OF_STATUS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
