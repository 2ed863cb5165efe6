"""Values to msgpack and back, exactly: what comes out equals what went in, in value and in type."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import msgspec
from markupsafe import Markup
from msgspec.msgpack import Ext

from cache_ext.codec.collisions import HARMLESS_BYTES, refuse_collisions, refuse_other_keys
from cache_ext.errors import ConfigurationError, PayloadError, UnsupportedValue

T = TypeVar("T")

_PLAIN = (type(None), bool, int, float, str, bytes)
_REGISTERED = 64
"""Extension code of registered types; the built-in ones stay below."""
DECODE_FAILURES = (
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    OSError,  # a time zone by the name of a folder
    RecursionError,
    struct.error,
)
"""All that hostile bytes can make the decoders below raise."""


def _moment_out(moment: datetime | time) -> list[str | int | None]:
    zone = moment.tzinfo
    if type(zone) is ZoneInfo and zone.key:
        return [moment.replace(tzinfo=None).isoformat(), moment.fold, zone.key]
    plain: list[str | int | None] = [moment.isoformat(), moment.fold]
    if zone is None:
        return plain
    if type(zone) is timezone:
        name = zone.tzname(None)
        return plain if name == timezone(zone.utcoffset(None)).tzname(None) else [*plain, None, name]
    raise UnsupportedValue(f"cannot keep a {type(moment).__name__} with a {type(zone).__name__} exactly")


def _moment_in(kind: type[Any]) -> Callable[[Any], Any]:
    def decode(body: Any) -> Any:
        text, fold, *zone = body
        moment = kind.fromisoformat(text).replace(fold=fold)
        match zone:
            case []:
                return moment
            case [None, name]:
                return moment.replace(tzinfo=timezone(moment.utcoffset(), name))
            case _:
                return moment.replace(tzinfo=ZoneInfo(*zone))

    return decode


class _Kind(NamedTuple):
    """How one type travels: its extension code, to something simpler, of which type, and back."""

    code: int
    out: Callable[[Any], Any]
    body: type
    back: Callable[[Any], Any]


_KINDS: dict[type, _Kind] = {
    tuple: _Kind(1, list, list, tuple),
    set: _Kind(2, list, list, set),
    frozenset: _Kind(3, list, list, frozenset),
    Decimal: _Kind(4, str, str, Decimal),
    datetime: _Kind(5, _moment_out, list, _moment_in(datetime)),
    date: _Kind(6, date.isoformat, str, date.fromisoformat),
    time: _Kind(7, _moment_out, list, _moment_in(time)),
    timedelta: _Kind(
        8, lambda d: [d.days, d.seconds, d.microseconds], list, lambda b: timedelta(b[0], b[1], b[2])
    ),
    uuid.UUID: _Kind(9, lambda u: u.bytes, bytes, lambda b: uuid.UUID(bytes=b)),
    Markup: _Kind(10, str, str, Markup),
}
_PAIRS = 11
"""Extension code of a dict that has keys which msgpack maps cannot have."""
_BACK: dict[int, Callable[[Any], Any]] = {_PAIRS: dict} | {kind.code: kind.back for kind in _KINDS.values()}
_BODIES: dict[int, type] = {_PAIRS: list} | {kind.code: kind.body for kind in _KINDS.values()}
_SETS = (_KINDS[set].code, _KINDS[frozenset].code)
_IMMUTABLE = frozenset({*_PLAIN, Decimal, datetime, date, time, timedelta, uuid.UUID, Markup})


class _Registered(NamedTuple):
    name: str
    out: Callable[[Any], bytes]
    back: Callable[[bytes], Any]
    shared: bool

    def encode(self, value: Any) -> bytes:
        try:
            return self.out(value)
        except Exception as error:  # whatever the encoding of somebody's type raises
            raise UnsupportedValue(f"cannot keep this {self.name}: {error!r}") from error

    def decode(self, encoded: bytes) -> Any:
        try:
            return self.back(encoded)
        except Exception as error:  # whatever hostile bytes make its decoding raise
            raise PayloadError(f"no {self.name}: {error!r}") from error


class ValueCodec:
    """Knows the built-in types and those registered with it."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(ext_hook=self._ext_in)
        self._decode_warily = msgspec.msgpack.Decoder(ext_hook=self._wary_ext_in).decode
        self._by_type: dict[type, _Registered] = {}
        self._by_name: dict[str, _Registered] = {}

    def register(
        self,
        kind: type[T],
        *,
        name: str,
        encode: Callable[[T], bytes] | None = None,
        decode: Callable[[bytes], T] | None = None,
        shared: bool = False,
    ) -> None:
        """Make values of *kind* (not of its subclasses) cacheable.

        Args:
            name: what stands in the stored bytes; never reuse one for another shape.
            encode, decode: to bytes and back; without them *kind* is a msgspec Struct (or another type
                that msgspec decodes strictly), so hostile bytes cannot become anything else.
            shared: instances never change; readers may be given the same object.
        Raises:
            ConfigurationError: the type or the name is taken.
        """
        if kind in self._by_type or kind in _KINDS or name in self._by_name:
            raise ConfigurationError(f"{kind.__name__} or the name {name!r} is registered already")
        out = encode or self._encoder.encode
        back = decode or msgspec.msgpack.Decoder(kind).decode
        self._by_type[kind] = self._by_name[name] = _Registered(name, out, back, shared)

    def is_shared(self, value: Any) -> bool:
        """Tell whether all readers may be given this very object, since nobody can change it."""
        kind = type(value)
        if kind in _IMMUTABLE:
            return True
        registered = self._by_type.get(kind)
        return registered is not None and registered.shared

    def encode(self, value: Any) -> bytes:
        """Return *value* as msgpack.

        Raises:
            UnsupportedValue: it, or something inside it, cannot be kept exactly.
        """
        try:
            return self._encoder.encode(self._out(value))
        except (RuntimeError, OverflowError, UnicodeEncodeError, msgspec.MsgspecError) as error:
            raise UnsupportedValue(f"cannot keep this {type(value).__name__} exactly: {error}") from error

    def decode(self, payload: bytes | msgspec.Raw) -> Any:
        """Return the value that *payload* stands for.

        Raises:
            PayloadError: it stands for none.
        """
        try:
            if len(memoryview(payload)) >= HARMLESS_BYTES:
                refuse_other_keys(payload)
            return self._decode_warily(payload)
        except DECODE_FAILURES as error:
            raise PayloadError(f"undecodable value: {error}") from error

    def decoder_of(self, kind: type[T]) -> msgspec.msgpack.Decoder[T]:
        """Return a decoder of *kind*, whose fields of type Any are values; of few bytes, see `decode`.

        It may raise PayloadError and any of `DECODE_FAILURES`.
        """
        return msgspec.msgpack.Decoder(kind, ext_hook=self._wary_ext_in)

    def decoding(self, payload: bytes | msgspec.Raw) -> Callable[[], Any]:
        """Return what decodes *payload*, which is known to be good, as often as it is called."""
        return partial(self._decoder.decode, payload)

    def _out(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is dict:
            if all(type(key) in _PLAIN for key in value):
                return {key: self._out(item) for key, item in value.items()}
            pairs = [[self._out(key), self._out(item)] for key, item in value.items()]
            return Ext(_PAIRS, self._encoder.encode(pairs))
        if kind is list:
            return [self._out(item) for item in value]
        if known := _KINDS.get(kind):
            return Ext(known.code, self._encoder.encode(self._out(known.out(value))))
        if registered := self._by_type.get(kind):
            return Ext(_REGISTERED, self._encoder.encode([registered.name, registered.encode(value)]))
        raise UnsupportedValue(
            f"cannot keep a {kind.__module__}.{kind.__qualname__}; register_type makes it cacheable"
        )

    def _ext_in(self, code: int, body: memoryview) -> Any:
        content = self._decoder.decode(body)
        return self._registered_in(content) if code == _REGISTERED else _BACK[code](content)

    def _wary_ext_in(self, code: int, body: memoryview) -> Any:
        if len(body) >= HARMLESS_BYTES:
            refuse_other_keys(body)
        content = self._decode_warily(body)
        if code == _REGISTERED:
            return self._registered_in(content)
        held: type = type(content)
        if held is not _BODIES[code]:
            raise TypeError(f"extension {code} holds a {held.__name__}")
        if code in _SETS:
            refuse_collisions(content)
        elif code == _PAIRS:
            refuse_collisions([key for key, _ in content])
        return _BACK[code](content)

    def _registered_in(self, content: Any) -> Any:
        name, encoded = content
        return self._by_name[name].decode(encoded)
