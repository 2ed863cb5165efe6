"""Exceptions to bytes and back, for loads whose failing is itself worth keeping. Decoding imports nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from msgspec import Raw

from cache_ext.codec.values import ValueCodec
from cache_ext.errors import PayloadError, UnsupportedValue


def encode_failure(error: Exception, values: ValueCodec) -> bytes:
    """Return *error* as msgpack: the qualified name of its class, and its args.

    It is built anew from these, once, to see that nothing is lost: same class, equal args, same text, equal
    attributes. Traceback, cause, context and notes are not kept.

    Raises:
        UnsupportedValue: its args cannot be kept exactly, or do not make the same error again.
    """
    payload = values.encode([_name(type(error)), list(error.args)])
    try:
        again = decode_failure(payload, (type(error),), values)
        same = again.args == error.args and str(again) == str(error) and _state(again) == _state(error)
    except Exception as problem:  # whatever the methods of somebody's exception and its attributes raise
        raise UnsupportedValue(f"cannot compare this {_name(type(error))}: {problem!r}") from problem
    if not same:
        raise UnsupportedValue(f"a {_name(type(error))} is not what its args make again")
    return payload


def decode_failure(payload: bytes | Raw, kinds: Collection[type[Exception]], values: ValueCodec) -> Exception:
    """Return a new exception such as *payload* stands for.

    Args:
        kinds: the classes it may have. A subclass counts if it is loaded in this process and no other
            subclass of *kinds* has its name. Who writes to the store picks among them, and their args.
    Raises:
        PayloadError: it stands for none, for one of another class, or its class does not take its args.
    """
    match values.decode(payload):
        case [str(name), list(args)]:
            kind = _find(name, kinds)
        case _:
            raise PayloadError("a failure is a name and args")
    try:
        error = kind(*args)
    except Exception as problem:  # whatever the constructor of somebody's exception raises
        raise PayloadError(f"{name} does not take these args: {problem!r}") from problem
    if type(error) is not kind:
        raise PayloadError(f"{name} makes something else of these args")
    return error


def _find(name: str, kinds: Collection[type[Exception]]) -> type[Exception]:
    for kind in kinds:
        if _name(kind) == name:
            return kind
    found = {kind for kind in _below(kinds) if _name(kind) == name}
    if len(found) != 1:
        raise PayloadError(f"{name!r} names {len(found)} of the exceptions that may be kept")
    return found.pop()


def _below(kinds: Collection[type[Exception]]) -> Iterator[type[Exception]]:
    """Yield all subclasses of *kinds* that are loaded, each once."""
    seen: set[type[Exception]] = set()
    left = list(kinds)
    while left:
        for kind in left.pop().__subclasses__():
            if kind not in seen:
                seen.add(kind)
                left.append(kind)
                yield kind


def _name(kind: type[Exception]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _state(error: Exception) -> dict[str, Any]:
    """Return the attributes of *error*, without the notes that were added to its text."""
    return {name: value for name, value in vars(error).items() if name != "__notes__"}
