"""What tests of code that uses the cache need: a clock, an origin, and a Redis that fails when told to."""

from cache_ext.testing.clock import FakeClock
from cache_ext.testing.origin import CountingOrigin
from cache_ext.testing.proxy import FaultProxy

__all__ = ["CountingOrigin", "FakeClock", "FaultProxy"]
