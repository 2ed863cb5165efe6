"""Exceptions as bytes: exact there and back or refused, and never another class than the policy lists."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_ext import PayloadError, UnsupportedValue
from cache_ext.codec.failures import decode_failure, encode_failure
from cache_ext.codec.values import ValueCodec

FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
VALUES = ValueCodec()


class MarketError(Exception):
    """What a policy may list."""


class NoSuchPair(MarketError):
    """One of its subclasses."""

    def __init__(self, pair: str) -> None:
        super().__init__(pair)
        self.pair = pair


class Delisted(NoSuchPair):
    """And one of that."""


class Wordy(MarketError):
    """An exception whose args are not those of its constructor."""

    def __init__(self, pair: str) -> None:
        super().__init__(f"no market for {pair}")


class Demanding(MarketError):
    """An exception whose constructor wants more than its args."""

    def __init__(self, pair: str, source: str) -> None:
        super().__init__(pair)
        self.source = source


class Carrying(MarketError):
    """An exception to which something is attached later."""


class Turncoat(MarketError):
    """An exception that is another one the second time."""

    def __new__(cls, *args: object) -> MarketError:
        """Make something else."""
        return MarketError(*args)


class Elusive(Exception):
    """No subclass of MarketError."""


def kept(error, kinds=(MarketError,)):
    """Return what *error* is after it was stored."""
    return decode_failure(encode_failure(error, VALUES), kinds, VALUES)


@pytest.mark.parametrize(
    "error",
    [
        MarketError(),
        MarketError("down", 503, None, 1.5, Decimal("1.10"), (1, {2}), {"a": b"b"}),
        NoSuchPair("SOL-USDC"),
        Delisted("SOL-USDC"),
    ],
    ids=repr,
)
def test_a_failure_comes_back_as_the_same_class_with_the_same_args(error):
    """A listed class and its subclasses come back, new objects each time, attributes included."""
    first, second = kept(error), kept(error)
    assert first is not second
    for again in (first, second):
        assert type(again) is type(error)
        assert again.args == error.args
        assert [type(arg) for arg in again.args] == [type(arg) for arg in error.args]
        assert vars(again) == vars(error)
        assert again.__traceback__ is None


def test_notes_and_causes_are_not_kept():
    """They belong to the one time it was raised."""
    error = MarketError("down")
    error.add_note("at noon")
    error.__cause__ = ValueError("x")
    again = kept(error)
    assert again.args == ("down",)
    assert again.__cause__ is None
    assert not hasattr(again, "__notes__")


@pytest.mark.parametrize("error", [TimeoutError("x"), FileNotFoundError(2, "gone"), KeyError("k"), OSError()])
def test_built_in_exceptions_come_back(error):
    """They need nothing special."""
    again = kept(error, (OSError, LookupError))
    assert (type(again), again.args, str(again)) == (type(error), error.args, str(error))


def attached():
    """Return an error that has more than its args say."""
    error = Carrying("x")
    error.response = "a response"
    return error


@pytest.mark.parametrize(
    "error",
    [
        MarketError(object()),
        MarketError(MarketError("inside")),
        MarketError(2**64),
        MarketError(math.nan),
        ExceptionGroup("many", [MarketError()]),
        Wordy("SOL-USDC"),
        Demanding("SOL-USDC", "kraken"),
        attached(),
        FileNotFoundError(2, "gone", "file.txt"),
    ],
    ids=lambda error: repr(error).partition(" at 0x")[0],
)
def test_what_its_args_do_not_make_again_is_not_kept(error):
    """Args that cannot be kept, or that make another error, or not all of it, are UnsupportedValue."""
    with pytest.raises(UnsupportedValue):
        encode_failure(error, VALUES)


def test_an_exception_that_turns_into_another_is_not_kept():
    """What its class makes must be of that very class."""
    error = MarketError.__new__(Turncoat)
    assert type(error) is Turncoat
    with pytest.raises(UnsupportedValue):
        encode_failure(error, VALUES)


def test_exceptions_that_cannot_be_compared_are_not_kept():
    """Whatever goes wrong in foreign methods is UnsupportedValue."""

    class Prickly:
        def __eq__(self, other):
            raise RuntimeError("do not touch")

        __hash__ = None

    class Holding(MarketError):
        def __init__(self, *args):
            super().__init__(*args)
            self.held = Prickly()

    with pytest.raises(UnsupportedValue):
        encode_failure(Holding("x"), VALUES)


def test_only_listed_classes_and_their_subclasses_are_made():
    """Another class, though it is loaded, is a PayloadError."""
    payload = encode_failure(Elusive("x"), VALUES)
    assert type(decode_failure(payload, (MarketError, Elusive), VALUES)) is Elusive
    for kinds in ((), (MarketError,), (KeyError, OSError)):
        with pytest.raises(PayloadError):
            decode_failure(payload, kinds, VALUES)
    with pytest.raises(PayloadError):
        decode_failure(encode_failure(MarketError("x"), VALUES), (NoSuchPair,), VALUES)


def test_two_subclasses_of_one_name_are_not_guessed_at():
    """A name that more than one subclass has stands for none of them; a listed class goes first."""

    def make():
        class Local(MarketError):
            pass

        return Local

    one, two = make(), make()
    payload = encode_failure(one("x"), VALUES)
    with pytest.raises(PayloadError, match="names 2"):
        decode_failure(payload, (MarketError,), VALUES)
    assert type(decode_failure(payload, (MarketError, one), VALUES)) is one
    assert type(decode_failure(payload, (two,), VALUES)) is two


@pytest.mark.parametrize(
    "content",
    [
        None,
        "tests.test_codec_failures.MarketError",
        [],
        ["tests.test_codec_failures.MarketError"],
        ["tests.test_codec_failures.MarketError", "args"],
        ["tests.test_codec_failures.MarketError", {}],
        ["tests.test_codec_failures.MarketError", [], 1],
        [1, []],
        ["", []],
        ["os.system", ["true"]],
        ["builtins.SystemExit", []],
        ["builtins.eval", ["1"]],
        ["subprocess.CalledProcessError", [1, "x"]],
        ["tests.test_codec_failures.NoSuchPair", []],
        ["tests.test_codec_failures.NoSuchPair", [1, 2]],
        ["tests.test_codec_failures.Turncoat", []],
        {"name": "x", "args": []},
    ],
    ids=repr,
)
def test_bytes_that_stand_for_no_listed_failure_are_refused(content):
    """Other shapes, other names, args that the class does not take: a PayloadError each."""
    with pytest.raises(PayloadError):
        decode_failure(msgspec.msgpack.encode(content), (MarketError,), VALUES)


@given(st.binary(max_size=100))
@FAST
def test_random_failures_are_refused(data):
    """Bytes from nowhere are a PayloadError."""
    with pytest.raises(PayloadError):
        decode_failure(data, (Exception,), VALUES)
