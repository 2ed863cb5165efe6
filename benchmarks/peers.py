"""The peers, set up as their documentation does, on the same server; what is not installed is left out."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from flask_caching import Cache as FlaskCache

from benchmarks.racing import Awaited, Contestant, Crowd, Statement
from benchmarks.samples import TTL
from benchmarks.stage import Stage

OBJECT, PICKLE = "object", "pickle"
ROOMY = 100_000


def installed(*names: str) -> bool:
    """Tell whether all packages are there; `make bench` installs them."""
    return all(importlib.util.find_spec(name) for name in names)


class Peers:
    """Contestants of one kind after another; every cache is opened when it is first needed."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        logging.getLogger("dogpile").setLevel(logging.ERROR)

    def near_hits(self, value: object) -> Iterator[Contestant]:
        """Hits in the memory of this process."""
        for name, kept in self._dicts():
            kept["key"] = value
            yield Statement(name, "kept['key']", OBJECT, kept=kept)
        self._in_memory.set("key", value)
        yield Statement("Flask-Caching SimpleCache", "cache.get('key')", PICKLE, cache=self._in_memory)
        if installed("dogpile"):
            region = self._region(proxied=True)
            region.set("near", value)
            yield Statement("dogpile.cache memory proxy", "region.get('near')", PICKLE, region=region)
        if installed("cashews"):
            for name, cache, note in (
                ("cashews mem", self._cashews("mem://"), OBJECT),
                ("cashews client-side", self._cashews(client_side=True), f"{OBJECT}, told by Redis"),
            ):
                self._stage.loop.run_until_complete(cache.set("near", value, expire=TTL))
                yield Awaited(name, self._stage.loop, lambda cache=cache: cache.get("near"), note)

    def crowds(self, value: object, threads: int) -> Iterator[Contestant]:
        """The same from several threads at once; cachetools' documentation asks for a lock around it."""
        for name, kept in self._dicts():
            kept["key"] = value
            code = "with lock: kept['key']" if name == "cachetools" else "kept['key']"
            yield Crowd(threads, Statement(name, code, OBJECT, kept=kept, lock=threading.Lock()))

    def shared_hits(self, value: object) -> Iterator[Contestant]:
        """Hits in Redis."""
        self._in_redis.set("key", value)
        yield Statement("Flask-Caching RedisCache", "cache.get('key')", PICKLE, cache=self._in_redis)
        if installed("dogpile"):
            region = self._region()
            region.set("dogpile", value)
            yield Statement("dogpile.cache redis", "region.get('dogpile')", PICKLE, region=region)
        if installed("cashews"):
            cache = self._cashews()
            self._stage.loop.run_until_complete(cache.set("cashews", value, expire=TTL))
            yield Awaited("cashews redis", self._stage.loop, lambda: cache.get("cashews"), PICKLE)

    def batches(self, keys: list[str], value: object) -> Iterator[Contestant]:
        """Many hits in Redis at once."""
        self._in_redis.set_many(dict.fromkeys(keys, value))
        yield Statement(
            "Flask-Caching RedisCache", "cache.get_many(*keys)", PICKLE, cache=self._in_redis, keys=keys
        )
        if installed("dogpile"):
            region = self._region()
            theirs = [f"dogpile:{key}" for key in keys]
            region.set_multi(dict.fromkeys(theirs, value))
            yield Statement(
                "dogpile.cache redis", "region.get_multi(keys)", PICKLE, region=region, keys=theirs
            )
        if installed("cashews"):
            cache = self._cashews()
            own = [f"cashews:{key}" for key in keys]
            self._stage.loop.run_until_complete(cache.set_many(dict.fromkeys(own, value), expire=TTL))
            yield Awaited("cashews redis", self._stage.loop, lambda: cache.get_many(*own), PICKLE)

    def sets(self, value: object) -> Iterator[Contestant]:
        """Writes to Redis."""
        yield Statement(
            "Flask-Caching RedisCache", "cache.set('set', v)", PICKLE, cache=self._in_redis, v=value
        )
        if installed("dogpile"):
            yield Statement(
                "dogpile.cache redis", "region.set('dogpile', v)", PICKLE, region=self._region(), v=value
            )
        if installed("cashews"):
            cache = self._cashews()
            yield Awaited(
                "cashews redis", self._stage.loop, lambda: cache.set("cashews", value, expire=TTL), PICKLE
            )

    def loads(self, value: object, numbers: Iterator[int]) -> Iterator[Contestant]:
        """Misses, each of another key, whose loader costs nothing."""

        @self._in_redis.memoize(int(TTL))
        def load(number: int) -> object:
            return value

        names: dict[str, Any] = {"numbers": numbers}
        yield Statement("Flask-Caching memoize", "load(next(numbers))", PICKLE, load=load, **names)
        if installed("dogpile"):
            yield Statement(
                "dogpile.cache get_or_create",
                "region.get_or_create(f'dogpile:{next(numbers)}', loader)",
                f"{PICKLE}, coalesces threads",
                region=self._region(),
                loader=lambda: value,
                **names,
            )
        if installed("cashews"):
            cache = self._cashews()

            async def loader() -> object:
                return value

            def call() -> Any:
                return cache.get_or_set(f"cashews:{next(numbers)}", loader, expire=TTL)

            yield Awaited("cashews get_or_set", self._stage.loop, call, PICKLE)

    def tagged(self, count: int) -> Awaited:
        """cashews' way to invalidate a tag: it keeps a set of the tag's keys and deletes each."""
        cache, loop = self._cashews(), self._stage.loop

        async def fill() -> None:
            for number in range(count):
                await cache.set(f"{count}:{number}", 1, expire=TTL, tags=[f"tag:{count}"])

        class Refilled(Awaited):
            def seconds(self, calls: int) -> float:
                loop.run_until_complete(fill())
                return super().seconds(1)

        return Refilled(f"{count:,} entries", loop, lambda: cache.delete_tags(f"tag:{count}"))

    def _dicts(self) -> Iterator[tuple[str, Any]]:
        if installed("cachetools"):
            from cachetools import TTLCache  # noqa: PLC0415 (only if it is installed)

            yield "cachetools", TTLCache(ROOMY, TTL)
        if installed("cachebox"):
            import cachebox  # noqa: PLC0415 (only if it is installed)

            yield "cachebox", cachebox.TTLCache(ROOMY, TTL)

    @cached_property
    def _in_memory(self) -> FlaskCache:
        return FlaskCache(
            self._stage.app, config={"CACHE_TYPE": "SimpleCache", "CACHE_DEFAULT_TIMEOUT": int(TTL)}
        )

    @cached_property
    def _in_redis(self) -> FlaskCache:
        config = {"CACHE_REDIS_URL": self._stage.url, "CACHE_DEFAULT_TIMEOUT": int(TTL)}
        return FlaskCache(self._stage.app, config={"CACHE_TYPE": "RedisCache", **config})

    def _region(self, *, proxied: bool = False) -> Any:
        from dogpile.cache import make_region  # noqa: PLC0415 (only if it is installed)

        from benchmarks.memory_proxy import MemoryProxy  # noqa: PLC0415 (needs dogpile.cache too)

        arguments = {"url": self._stage.url, "redis_expiration_time": int(TTL), "distributed_lock": False}
        return make_region().configure(
            "dogpile.cache.redis",
            expiration_time=TTL,
            arguments=arguments,
            wrap=[MemoryProxy] if proxied else [],
        )

    def _cashews(self, url: str | None = None, **options: Any) -> Any:
        import cashews  # noqa: PLC0415 (only if it is installed)

        cache = cashews.Cache()
        cache.setup(url or self._stage.url, **options)
        self._stage.on_exit(lambda: self._stage.loop.run_until_complete(cache.close()))
        return cache
