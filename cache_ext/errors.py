"""What can go wrong in the cache, told apart by what the caller should do next.

CacheError
├── ConfigurationError      start-up only: a setting or a call's arguments make no sense
├── UnsupportedValue        the value cannot be kept exactly; also a TypeError
├── NestedLoadError         a loader asked, in the end, for the very key it loads
├── LoadTimeout             the loader takes longer than its caller may wait; also a TimeoutError
└── StoreError              the caller goes on to the next layer
    ├── PayloadError        bytes that cannot be decoded or decrypted: a miss
    └── StoreUnavailable    no answer: down, too slow, pool exhausted, refusing
        └── CircuitOpen     known to be down, so it was not asked
"""

from __future__ import annotations


class CacheError(Exception):
    """Base of everything that `cache_ext` raises on purpose."""


class ConfigurationError(CacheError):
    """A setting or an argument makes no sense; the message names it."""


class UnsupportedValue(CacheError, TypeError):
    """The value, or something inside it, has a type that cannot be kept exactly."""


class NestedLoadError(CacheError):
    """A loader asked for the key that it is loading; waiting would never end."""


class LoadTimeout(CacheError, TimeoutError):
    """The load takes longer than its caller's policy lets him wait. It goes on, and what comes is stored."""


class StoreError(CacheError):
    """A store did not do what it was asked; the caller goes on without it."""


class PayloadError(StoreError):
    """Stored bytes cannot be decoded or decrypted. The reader treats them as a miss."""


class StoreUnavailable(StoreError):
    """The store gave no usable answer in time."""


class CircuitOpen(StoreUnavailable):
    """The breaker is open, so the store was not asked."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"circuit open, next probe in {retry_after:.1f} s")
        self.retry_after = retry_after
