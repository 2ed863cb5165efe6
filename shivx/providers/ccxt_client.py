"""A ccxt client whose HTTP, metering and number parsing are ours, made from ccxt's own class."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Protocol
from urllib.parse import urlsplit

from shivx import importing
from shivx.errors import ConfigurationError, OriginInvalid, OriginUnavailable
from shivx.providers.ccxt_profiles import CcxtClient, Profile, Raw
from shivx.providers.http_line import Answer

SOURCE_SETTING = "SHIVX_MARKET_SOURCE"
URL_SETTING = "SHIVX_MARKET_SOURCE_URL"
_REFUSALS = frozenset({401, 403, 407, 451})
_REPLACED = "\ufffd"
_NEEDED = ("fetchMarkets", "fetchTicker", "fetchOrderBook", "fetchTrades")


class Call(Protocol):
    """What one question gives its client: a way out that knows the deadline and the meter."""

    def pace(self, cost: float) -> None:
        """Wait for the slot of a call that weighs *cost*."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Exchange one request for its complete answer; raises OriginError."""


def load_class(exchange_id: str) -> type[CcxtClient]:
    """Return ccxt's class for *exchange_id*, importing no other exchange.

    ``import ccxt`` loads a hundred exchanges: 0.3 to 0.8 s and 70 MB, against 0.05 s and 12 MB for one. The
    package's own ``__init__`` is passed over by an empty stand-in while its submodule loads.

    Raises:
        ConfigurationError: ccxt is not installed, or has no such exchange.
    """
    package = importlib.util.find_spec("ccxt")
    if package is None:
        raise ConfigurationError(f"{SOURCE_SETTING}: ccxt is not installed")
    folders = list(package.submodule_search_locations or [])
    is_name = re.fullmatch(r"[a-z][a-z0-9_]*", exchange_id) is not None
    if not is_name or not any((Path(folder) / f"{exchange_id}.py").is_file() for folder in folders):
        raise ConfigurationError(f"{SOURCE_SETTING}: ccxt knows no exchange {exchange_id!r}")
    with importing.lock:
        module = _import_alone(f"ccxt.{exchange_id}", folders)
    found: type[CcxtClient] = getattr(module, exchange_id)
    return found


def _import_alone(name: str, folders: list[str]) -> ModuleType:
    if "ccxt" in sys.modules:
        return importlib.import_module(name)
    stand_in = ModuleType("ccxt")
    stand_in.__path__ = folders
    sys.modules["ccxt"] = stand_in
    try:
        return importlib.import_module(name)
    finally:
        del sys.modules["ccxt"]  # whoever imports ccxt later gets the real one


def ccxt_errors() -> ModuleType:
    """Return ccxt's module of exceptions; it was loaded along with the exchange."""
    return sys.modules["ccxt.base.errors"]


def parse_exactly(text: str) -> Raw:
    """Parse JSON and keep each number's digits: fractions as text, whole numbers as int.

    Raises:
        ValueError: not JSON, or it has a NaN or an infinity.
    """
    return json.loads(text, parse_float=str, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _judged(client: Raw, answer: Answer, url: str, method: str, sent: Raw, body: Raw) -> Raw:
    """Return *answer* parsed, unless *client* or its status says that it is none.

    Raises:
        OriginUnavailable: it refuses us.
        OriginInvalid: it is an error, or no JSON.
    """
    text = answer.body.decode("utf-8", "replace").strip()
    # A character that had to be replaced could be part of a name.
    found = None if _REPLACED in text else client.parse_json(text)
    if answer.status >= 300:
        details = f"{client.id} answered with HTTP status {answer.status}"
    else:
        details = f"{client.id} answered with something that is not JSON"
    if found is not None:
        client.handle_errors(
            answer.status, answer.reason, url, method, answer.headers, text, found, sent, body
        )
    if answer.status in _REFUSALS:
        raise OriginUnavailable(details, retry_after=60.0)
    if answer.status >= 300 or found is None:
        raise OriginInvalid(details)
    return found


def make_client_class(base: type[CcxtClient], profile: Profile) -> type[CcxtClient]:
    """Return a subclass of ccxt's class *base* that talks through the `Call` in its attribute ``call``.

    A client is cheap to copy (`copy.copy`), and a copy with its own ``call`` serves one question: what ccxt
    notes on the instance along the way then belongs to that question alone.
    """

    class Client(base):  # type: ignore[misc]  # the base is known only at run time
        number = str  # ccxt keeps numbers as the exchange wrote them
        call: Call
        answer: Raw = None  # the last one, parsed

        def throttle(self, cost: Raw = None) -> None:
            self.call.pace(float(cost or 1))

        def fetch(self, url: str, method: str = "GET", headers: Raw = None, body: Raw = None) -> Raw:
            sent = {**self.prepare_request_headers(headers), "Accept-Encoding": "gzip"}
            data = body.encode() if isinstance(body, str) else None
            answer = self.call.send(method, url, sent, data)
            self.answer = _judged(self, answer, url, method, sent, body)
            return self.answer

        def on_json_response(self, text: str) -> Raw:
            return parse_exactly(text)

        def parse_order_book_bid_ask(self, level: Raw, price: Raw = 0, amount: Raw = 1, _: Raw = 2) -> Raw:
            # ccxt's own goes through a float. Order is restored by us: as text it would be alphabetical.
            return [self.safe_string(level, price), self.safe_string(level, amount)]

        def parse_ohlcvs(self, rows: Raw, market: Raw = None, *_: Raw, **__: Raw) -> Raw:
            # ccxt's own cuts the answer to the limit, so a row that came twice pushes a later one out.
            return [self.parse_ohlcv(row, market) for row in rows]

        def fetch_currencies(self, params: Raw = None) -> Raw:
            found = super().fetch_currencies(params or {})
            if profile.lists_currencies and not found:
                # Without them ccxt would name the markets by the exchange's own codes.
                raise OriginInvalid(f"{self.id} lists no currency")
            return found

        def close(self, clean_instance_data: bool = False) -> None:
            """Do nothing: ccxt calls this when a copy is thrown away, and copies share everything."""

    Client.__name__ = Client.__qualname__ = base.__name__
    return Client


def make_client(
    client_class: type[CcxtClient], base_url: str | None, config: Mapping[str, Raw]
) -> CcxtClient:
    """Build a client without markets.

    Args:
        base_url: takes the place of scheme and host in all of the exchange's addresses; None keeps them.
    Raises:
        ConfigurationError: the address is wrong, or the exchange cannot be asked for what we need.
    """
    # With its limiter "on", ccxt calls `throttle` with each call's weight; ours does the metering.
    client = client_class({"enableRateLimit": True, **config})
    lacking = [ability for ability in _NEEDED if not client.has.get(ability)]
    if lacking:
        raise ConfigurationError(f"{SOURCE_SETTING}: {client.id} lacks {', '.join(lacking)}")
    if base_url is not None:
        base = _checked(base_url)
        client.urls["api"] = _replace_hosts(client.urls["api"], lambda url: base + _path(url))
    return client


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(f"{URL_SETTING}: must be http(s)://host[:port][/path]")
    return base_url.rstrip("/")


def _replace_hosts(urls: Raw, replace: Callable[[str], str]) -> Raw:
    if isinstance(urls, dict):
        return {name: _replace_hosts(url, replace) for name, url in urls.items()}
    return replace(urls) if isinstance(urls, str) else urls


def _path(url: str) -> str:
    # By hand: hosts may hold a placeholder, "https://api.{hostname}/v2".
    _, slash, rest = url.partition("://")[2].partition("/")
    return slash + rest
