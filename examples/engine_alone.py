"""The engine without Flask: one load for all, tags, stale values: ``python -m examples.engine_alone``."""

import os
from concurrent.futures import ThreadPoolExecutor

from cache_ext import MISS, CachePolicy, open_cache


class Warehouse:
    """What is slow, and sometimes away."""

    def __init__(self) -> None:
        self.asked = 0
        self.apples = 3
        self.open = True

    def stock(self) -> dict[str, int]:
        """Count."""
        self.asked += 1
        if not self.open:
            raise ConnectionError("the warehouse is closed")
        return {"apples": self.apples}


def main() -> None:
    """Show it."""
    cache = open_cache(os.environ.get("REDIS_URL", "memory://"), namespace="shop")
    policy = CachePolicy(ttl=60, stale_if_error=600)
    warehouse = Warehouse()

    def read(_: int = 0) -> dict[str, int]:
        return cache.get_or_load("stock", warehouse.stock, policy=policy, tags=["stock"])

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(read, range(100)))
    print(f"{len(answers)} readers, asked {warehouse.asked} time: {answers[0]}")

    warehouse.apples = 2
    cache.invalidate_tags("stock")
    print(f"after the sale: {read()}, in the cache {cache.get('stock')}")

    warehouse.open = False
    cache.invalidate_tags("stock", soft=True)  # out of date, but better than nothing
    print(f"while the warehouse is closed: {read()}")

    cache.delete("stock")
    print(f"deleted: {cache.get('stock') is MISS}")
    cache.close()


if __name__ == "__main__":
    main()
