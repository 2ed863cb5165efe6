"""The types that settings have: how text is read, and the range that is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from shivx.errors import InvalidParameter
from shivx.models import Pair
from shivx.pairs import parse_pair
from shivx.redis_url import MAX_PORT, check_redis_url
from shivx.secret_keys import split_keys

TEN_YEARS = 315_360_000
HOUR = 3600
MAX_CONNECTIONS = 10_000
MAX_REQUESTS = 1_000_000_000
MAX_PROXIES = 16
MAX_REPLICAS = 10

_NUMBER = re.compile(r"-?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})")
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_SOURCE = re.compile(r"simulated|ccxt:[a-z0-9_]{1,64}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ORIGIN = re.compile(r"\*|https?://(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?")
_BIND = re.compile(r"unix:.+|(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})")
_DATABASE = re.compile(
    r"sqlite(?:\+pysqlite)?:///(?!:memory:)[^?]+|postgres(?:ql)?(?:\+psycopg)?://.+", re.DOTALL
)
_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")

ValueT = TypeVar("ValueT")


def _from_text(read: Callable[[str], object]) -> BeforeValidator:
    """Apply *read* to text only, so that Python values can be given too."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _matching(pattern: re.Pattern[str], allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(allowed)
        return text

    return check


def _secret(check: Callable[[str], object]) -> AfterValidator:
    def checked(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(checked)


def _number(text: str) -> float:
    return float(_matching(_NUMBER, "a number in plain digits, such as 5 or 0.25")(text.strip()))


def _integer(text: str) -> int:
    return int(_matching(_INTEGER, "a whole number in plain digits")(text.strip()))


def _boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.strip().lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",")) if text.strip() else ()


def _pairs(items: tuple[str, ...]) -> tuple[Pair, ...]:
    try:
        return tuple(dict.fromkeys(parse_pair(item) for item in items))
    except InvalidParameter:
        raise ValueError("pairs, such as BTC-USDC, separated by commas") from None


def _sources(items: tuple[str, ...]) -> tuple[str, ...]:
    if not items or not all(_SOURCE.fullmatch(item) for item in items):
        raise ValueError("simulated or ccxt:EXCHANGE, separated by commas")
    if len(set(items)) < len(items):
        raise ValueError("sources that all differ")
    return items


def _origins(items: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        _matching(_ORIGIN, "origins, such as https://example.com, separated by commas, or *")(item.lower())
        for item in items
    )


def _web_url(text: str) -> str:
    allowed = "a URL http://HOST or https://HOST, without user, query or fragment"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(allowed) from None
    if parts.scheme not in {"http", "https"} or not host or re.search(r"[\s?#@]", text):
        raise ValueError(allowed)
    return text.rstrip("/")


def _bind(text: str) -> str:
    match = _BIND.fullmatch(text)
    if match is None or not 0 < int(match[1] or MAX_PORT) <= MAX_PORT:
        raise ValueError(f"HOST:PORT, with a port of 1 to {MAX_PORT}, or unix:PATH")
    return text


def _folder(text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise ValueError("the path of a folder")
    return Path(text).absolute()


Boolean = Annotated[bool, _from_text(_boolean)]
Lifetime = Annotated[float, _from_text(_number), Field(ge=0.001, le=TEN_YEARS)]
"""Seconds that a value is fresh."""
Grace = Annotated[float, _from_text(_number), Field(ge=0, le=TEN_YEARS)]
"""Seconds that a value may be served past its lifetime, 0 for never."""
Timeout = Annotated[float, _from_text(_number), Field(gt=0, le=HOUR)]
Delay = Annotated[float, _from_text(_number), Field(ge=0, le=HOUR)]
Share = Annotated[float, _from_text(_number), Field(ge=0, le=1)]
Connections = Annotated[int, _from_text(_integer), Field(ge=1, le=MAX_CONNECTIONS)]
Count = Annotated[int, _from_text(_integer), Field(ge=1, le=MAX_REQUESTS)]
Bytes = Annotated[int, _from_text(_integer), Field(ge=1)]
Replicas = Annotated[int, _from_text(_integer), Field(ge=0, le=MAX_REPLICAS)]
Proxies = Annotated[int, _from_text(_integer), Field(ge=0, le=MAX_PROXIES)]
Word = _from_text(lambda text: text.strip().lower())
"""For a Literal: read without regard to case."""
Folder = Annotated[Path, _from_text(_folder)]
Namespace = Annotated[
    str, AfterValidator(_matching(_NAMESPACE, "1 to 64 letters, digits or any of _ . : - (no braces)"))
]
Bind = Annotated[str, AfterValidator(_bind)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
Pairs = Annotated[tuple[Pair, ...], _from_text(_items), AfterValidator(_pairs)]
Sources = Annotated[tuple[str, ...], _from_text(_items), AfterValidator(_sources)]
Origins = Annotated[tuple[str, ...], _from_text(_items), AfterValidator(_origins)]
RedisUrl = Annotated[SecretStr, _secret(check_redis_url)]
DatabaseUrl = Annotated[
    SecretStr, _secret(_matching(_DATABASE, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"))
]
Token = Annotated[SecretStr, _secret(_matching(_TOKEN, "1 to 512 ASCII characters without spaces"))]
SecretKeys = Annotated[tuple[SecretStr, ...], _from_text(split_keys)]
