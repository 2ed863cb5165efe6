"""The values that are cached in the measurements: the same for everybody, in every run."""

from __future__ import annotations

import random

SEED = 20_251_122
FIELDS = 30
FLAT_BYTES = 1000
LEVELS = 20
TTL = 600.0
"""Seconds; longer than any measurement, so that nothing expires or is refreshed."""


def flat() -> dict[str, object]:
    """Return 30 fields of text, numbers and the like: 1 kB as msgpack."""
    chance = random.Random(SEED)
    record: dict[str, object] = {}
    for number in range(FIELDS):
        kind = number % 3
        if kind == 0:
            record[f"field_{number:02d}"] = chance.uniform(0, 1e6)
        elif kind == 1:
            record[f"field_{number:02d}"] = chance.getrandbits(48)
        else:
            record[f"field_{number:02d}"] = f"{chance.getrandbits(210):055x}"[:51]
    return record


def order_book() -> dict[str, object]:
    """Return an order book of 20 levels a side, as the service keeps it: lists inside lists."""
    chance = random.Random(SEED)

    def side(direction: int) -> list[list[float]]:
        return [
            [round(150 + direction * (0.01 + 0.01 * level), 2), round(chance.uniform(0.1, 900), 4)]
            for level in range(LEVELS)
        ]

    return {"pair": "SOL-USDC", "as_of": 1_760_000_000_000, "bids": side(-1), "asks": side(1)}
