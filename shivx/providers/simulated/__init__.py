"""A market that is computed, not recorded: the same for every process that knows the seed and the time.

`docs/simulated-exchange.md` has the mathematics and what is guaranteed.
"""

from shivx.providers.simulated.exchange import SimulatedExchange

__all__ = ["SimulatedExchange"]
