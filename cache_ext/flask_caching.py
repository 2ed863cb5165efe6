"""A backend for Flask-Caching: ``CACHE_TYPE = "cache_ext.flask_caching.TieredBackend"``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import flask
import msgspec
from werkzeug.exceptions import HTTPException, default_exceptions

from cache_ext.engine import TieredCache
from cache_ext.entry import MISS, Missing
from cache_ext.errors import ConfigurationError, UnsupportedValue
from cache_ext.loading.updating import NotUpdated, Update
from cache_ext.opening import open_cache
from cache_ext.policy import MAX_TTL, CachePolicy
from cache_ext.transport.budget import budget
from cache_ext.web.naming import LONGEST_KEY_BYTES, safe_name
from cache_ext.web.responses import decode_response, encode_response, register_responses
from cache_ext.web.state import EXTENSION_KEY, cache_of

try:
    from flask_caching.backends.base import BaseCache
except ImportError as error:  # pragma: no cover (an optional dependency)
    raise ImportError(
        "cache_ext.flask_caching is a backend for Flask-Caching: install flask-caching"
    ) from error

Timeout = int | float | timedelta | None


@dataclass(frozen=True, slots=True)
class _Raised:
    """An error page that a view raised: Flask-Caching keeps these and raises them again."""

    code: int | None
    description: str | None
    response: bytes | None


class TieredBackend(BaseCache):
    """The engine as Flask-Caching's backend: two levels, no pickle, one invalidation for all processes.

    Values are what `TieredCache` keeps. An entry is evicted or invalidated as any other of the engine;
    a timeout of 0 means ten years. Not bridged: single flight, which Flask-Caching has no notion of.

    Args:
        cache: where entries lie.
        prefix: of every key.
        tag: carried by every entry, for `clear`; None if the whole namespace of *cache* is this backend's.
        default_timeout: seconds or timedelta, where a call gives none; 0: ten years.
        ignore_delete_many_errors: without effect, as deleting does not fail.
    """

    def __init__(
        self,
        cache: TieredCache,
        prefix: str = "",
        tag: str | None = None,
        default_timeout: Any = 300,
        ignore_delete_many_errors: bool = True,
    ) -> None:
        super().__init__(default_timeout, ignore_delete_many_errors)
        self.tiered = cache
        self._prefix = prefix
        self._tags = () if tag is None else (tag,)
        with suppress(ConfigurationError):  # another Cache object of this app has registered it
            cache.register_type(_Raised, name="flask_caching.raised", encode=_encode, decode=_decode)

    @classmethod
    def factory(
        cls, app: flask.Flask, config: dict[str, Any], args: list[Any], kwargs: dict[str, Any]
    ) -> TieredBackend:
        """Make the backend of *app*, as Flask-Caching asks for it.

        If `CacheExt` was set up on *app* before, its cache is used, keys beginning with CACHE_KEY_PREFIX.
        Else one is opened: on CACHE_REDIS_URL, or CACHE_REDIS_HOST, _PORT, _DB and _PASSWORD, or without
        these in this process' memory; CACHE_KEY_PREFIX is its namespace.
        """
        prefix = str(config.get("CACHE_KEY_PREFIX") or "flask_cache_")
        if EXTENSION_KEY in app.extensions:
            return cls(cache_of(app), prefix, f"flask-caching:{prefix}", *args, **kwargs)
        cache = open_cache(_url(config), redis_password=config.get("CACHE_REDIS_PASSWORD"), namespace=prefix)
        register_responses(cache)
        return cls(cache, "", None, *args, **kwargs)

    def get(self, key: str) -> Any:
        """Return the value of *key*, None if there is none; see `has`."""
        found = self._get(key)
        return None if found is MISS else found

    def get_many(self, *keys: str) -> list[Any]:
        """Return the values of *keys*, in their order, in one round trip."""
        names = {self._name(key): self._tags for key in keys}
        self.tiered.start()
        with budget(self.tiered.settings.op_timeout, of_call=True):
            wanted = {
                name: tags for name, tags in names.items() if self.tiered.runtime.reader.near(name) is None
            }
            found = self.tiered.runtime.reader.read(wanted) if wanted else {}
        absent = {name for name, what in found.items() if what.slot is None}  # the rest is in L1 by now
        return [None if self._name(key) in absent else self.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Keep *value*; False if it is an HTTPException that is more than code, text or response.

        Raises:
            UnsupportedValue: the engine cannot keep it exactly.
        """
        kept = _kept(value)
        if kept is MISS:
            return False
        self.tiered.set(self._name(key), kept, ttl=self._ttl(timeout), tags=self._tags)
        return True

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Keep *value* unless *key* has one; of several processes that add at once one is told True."""
        kept = _kept(value)
        added: list[bool] = []

        def load() -> Any:
            added.append(True)
            return kept

        if kept is not MISS:
            policy = CachePolicy(ttl=self._ttl(timeout), early_refresh=False)
            self.tiered.fetch(self._name(key), load, policy=policy, tags=self._tags)
        return bool(added)

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[Any]:
        """Keep each value of *mapping*; return the keys of those that were kept."""
        return [key for key, value in mapping.items() if self.set(key, value, timeout)]

    def delete(self, key: str) -> bool:
        """Remove *key*; tell whether it had a value."""
        existed = self.has(key)
        self.tiered.delete(self._name(key))
        return existed

    def delete_many(self, *keys: str) -> list[Any]:
        """Remove *keys* in one round trip; return them, as absent ones count as removed."""
        if keys:
            self.tiered.delete(*map(self._name, keys))
        return list(keys)

    def has(self, key: str) -> bool:
        """Tell whether *key* has a value, which may be None."""
        return self._get(key) is not MISS

    def clear(self) -> bool:
        """Make all entries of this backend count no more, at the same cost however many there are.

        One version changes, or the namespace's epochs; what lies in Redis ends by its timeout.
        """
        if self._tags:
            self.tiered.invalidate_tags(*self._tags)
        else:
            self.tiered.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int | None:
        """Add *delta* to the number of *key* (0 if there is none), which keeps its timeout; return the sum.

        Atomic across threads and processes: an increment that is returned is lost to no other. None, and
        nothing is changed, while Redis is away, or if too many do it at once: no counter for a hot path.

        Raises:
            TypeError: there is something else than a number.
        """
        policy = CachePolicy(ttl=self._ttl(None), early_refresh=False)
        update = Update(self.tiered, self._name(key), policy, self._tags)
        try:
            total: int = update.change(lambda old: delta if old is MISS else old + delta)
        except NotUpdated:
            return None
        return total

    def dec(self, key: str, delta: int = 1) -> int | None:
        """Subtract *delta*; see `inc`."""
        return self.inc(key, -delta)

    def _get(self, key: str) -> Any | Missing:
        found = self.tiered.get(self._name(key))
        return _restored(found) if isinstance(found, _Raised) else found

    def _name(self, key: str) -> str:
        """Return the engine's key: the same text, or a hash of it if that may be none."""
        return safe_name(f"{self._prefix}{key}", LONGEST_KEY_BYTES)

    def _ttl(self, timeout: Timeout) -> float:
        if timeout is None:
            timeout = self.default_timeout
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
        if seconds < 0:
            raise ConfigurationError(f"a timeout is 0 or more seconds: {timeout!r}")
        return min(seconds, MAX_TTL) or MAX_TTL


def _url(config: Mapping[str, Any]) -> str:
    if url := config.get("CACHE_REDIS_URL"):
        return str(url)
    if host := config.get("CACHE_REDIS_HOST"):
        return f"redis://{host}:{config.get('CACHE_REDIS_PORT', 6379)}/{config.get('CACHE_REDIS_DB', 0)}"
    return "memory://"


def _kept(value: Any) -> Any | Missing:
    """Return *value* as the engine keeps it, MISS if it must not be kept."""
    if isinstance(value, flask.Response) and type(value) is not flask.Response:
        return decode_response(encode_response(value))  # a subclass, as CachedResponse is
    if not isinstance(value, HTTPException):
        return value
    if value.response is not None:
        with suppress(UnsupportedValue, AttributeError):
            return _Raised(value.code, value.description, encode_response(value.response))  # type: ignore[arg-type]
        return MISS
    own = set(vars(value)) - {"description", "response"}
    plain = type(value) is default_exceptions.get(value.code or 0) and not any(vars(value)[n] for n in own)
    return _Raised(value.code, value.description, None) if plain else MISS


def _restored(raised: _Raised) -> HTTPException:
    kind = default_exceptions.get(raised.code or 0, HTTPException)
    response = None if raised.response is None else decode_response(raised.response)
    return kind(description=raised.description, response=response)


def _encode(raised: _Raised) -> bytes:
    return msgspec.msgpack.encode(raised)


_decoder = msgspec.msgpack.Decoder(_Raised)


def _decode(encoded: bytes) -> _Raised:
    raised: _Raised = _decoder.decode(encoded)
    if raised.response is not None:
        decode_response(raised.response)
    return raised
