"""`memoize` keeps the result of a call, tells calls apart by their arguments, and forgets on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from flask import Flask, current_app

from cache_ext import CacheExt, CachePolicy, ConfigurationError, TieredCache, UnsupportedValue, cache_of
from cache_ext.web.arguments import describe
from cache_ext.web.decorators import Memoized, memoize
from cache_ext.web.naming import LONGEST_KEY_BYTES, safe_name
from tests.caches import begin, connected
from tests.waiting import until

calls: list[object] = []
origin_value = [0]


class Side(Enum):
    """An argument that is a constant."""

    BUY = "buy"
    SELL = "sell"


@memoize(ttl=60)
def note(a: object, b: object = 2, *rest: object, c: object = 3, **more: object) -> object:
    """Note the call and return how many there were."""
    calls.append((a, b, rest, c, more))
    return len(calls)


@memoize(ttl=60)
def simple(a: object, b: object = 2) -> object:
    """Note the call and return how many there were."""
    calls.append((a, b))
    return len(calls)


@memoize(ttl=60)
def nothing() -> None:
    """Note the call; return nothing."""
    calls.append(())


@memoize(ttl=60)
def failing() -> None:
    """Note the call and fail."""
    calls.append(())
    raise LookupError("gone")


@memoize(ttl=60, tags=("users", "user:{user_id}"))
def profile(user_id: int) -> str:
    """Return the origin's value for a user."""
    calls.append(user_id)
    return f"{user_id}:{origin_value[0]}"


@memoize(ttl=60)
def page(user_id: int) -> str:
    """Return what is made of another memoized call."""
    return f"<{profile(user_id)}>"


@memoize(ttl=60, tags=lambda pair, depth: [f"pair:{pair}", f"depth:{depth}"])
def book(pair: str, depth: int) -> int:
    """Return the number of the call."""
    calls.append(pair)
    return len(calls)


@memoize(ttl=60, key=lambda request: request["id"])
def by_id(request: dict[str, object]) -> object:
    """Return an argument that its id alone tells apart."""
    calls.append(request)
    return request["text"]


@memoize(ttl=60, policy=None)
def same_name(a: int) -> int:
    """Return the argument."""
    return a


class Cents(int):
    """A number that looks like another."""


class Account:
    """Offers what tells it from others."""

    def __init__(self, number: int) -> None:
        self.cache_key = str(number)

    @memoize(ttl=60)
    def balance(self, currency: str = "EUR") -> str:
        """Return the balance as of the origin."""
        calls.append(currency)
        return f"{self.cache_key} {currency} {origin_value[0]}"

    @classmethod
    @memoize(ttl=60)
    def kinds(cls, country: str) -> str:
        """Return something of the class."""
        calls.append(country)
        return f"{cls.__name__} {country}"

    @staticmethod
    @memoize(ttl=60)
    def rate(country: str) -> int:
        """Return something of no instance."""
        calls.append(country)
        return len(calls)


class Savings(Account):
    """Another class with the same method."""


class Anonymous:
    """Offers nothing that tells it from others."""

    @memoize(ttl=60)
    def balance(self) -> int:
        """Return nothing of interest."""
        return 0

    @memoize(ttl=60, key=lambda self, day: (id(type(self)), day))
    def on(self, day: date) -> str:
        """Return the day."""
        calls.append(day)
        return day.isoformat()


def make_app(url: str, namespace: str) -> Flask:
    """Return an application whose cache is on *url*."""
    app = Flask("shop")
    app.config.update(
        CACHE_EXT_REDIS_URL=url, CACHE_EXT_NAMESPACE=namespace, CACHE_EXT_OP_TIMEOUT=1.0, TESTING=True
    )
    CacheExt(app)
    return app


@pytest.fixture(autouse=True)
def fresh_origin() -> None:
    """No calls so far, and the origin's first value."""
    calls.clear()
    origin_value[0] = 0


@pytest.fixture
def app(namespace: str) -> Iterator[Flask]:
    """An application with a cache of its own process, its context pushed."""
    made = make_app("memory://", namespace)
    with made.app_context():
        yield made
    cache_of(made).close()


def test_same_call_is_made_once(app: Flask) -> None:
    """The second call gets what the first returned."""
    assert [simple(1), simple(1), simple(5)] == [1, 1, 2]
    assert calls == [(1, 2), (5, 2)]


def test_none_is_kept(app: Flask) -> None:
    """A function that returned None is not asked again."""
    assert (nothing(), nothing()) == (None, None)
    assert len(calls) == 1


def test_what_it_raises_is_not_kept(app: Flask) -> None:
    """Each call of a function that fails asks it."""
    for _ in range(2):
        with pytest.raises(LookupError, match="gone"):
            failing()
    assert len(calls) == 2


@pytest.mark.parametrize("function", [simple, note])
def test_ways_to_write_one_call_share_a_key(app: Flask, function: Memoized) -> None:
    """By position, by name, in any order, with the default or without: one call."""
    keys = {function.key_for(1), function.key_for(a=1), function.key_for(1, 2), function.key_for(b=2, a=1)}
    assert len(keys) == 1
    assert note.key_for(1, x=1, y=2) == note.key_for(1, y=2, x=1)


VALUES = [
    *[
        None,
        1,
        True,
        1.0,
        "1",
        b"1",
        Decimal("1"),
        0.0,
        -0.0,
        "None",
        "",
        b"",
        (),
        [],
        {},
        set(),
        frozenset(),
    ],
    *[(1,), (1, 2), ((1,), 2), [1], (1, (2,)), {1: 2}, {"1": 2}, {1, 2}, {True, 2}, ("1,2",), ("1", "2")],
    *[Side.BUY, Side.SELL, "buy", date(2026, 1, 1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)],
    *[
        UUID(int=1),
        Account,
        Savings,
        Account(1),
        Savings(1),
        Account(2),
        "\n",
        "\\n",
        "\udc80",
        "é",
        "e\u0301",
    ],
    *["x" * 5000, "x" * 5001, "{pair}", 10**300],
]


def test_different_arguments_have_different_keys() -> None:
    """Values that differ, in type alone even, are different calls; each key is a valid name."""
    keys = [safe_name(simple.key_for(value)) for value in VALUES]
    assert len(set(keys)) == len(VALUES)
    assert max(len(key.encode()) for key in keys) <= LONGEST_KEY_BYTES


def test_equal_collections_have_one_key() -> None:
    """Neither dicts nor sets have an order that counts."""
    assert describe({"a": 1, "b": {3, 1}}) == describe({"b": {1, 3}, "a": 1})


def test_key_is_readable() -> None:
    """A key shows function and arguments; a long one still begins with them."""
    assert simple.key_for("SOL", 5) == "memo:tests.test_memoize.simple('SOL',5)"
    assert simple.key_for("x" * 500).startswith("memo:tests.test_memoize.simple('xxx")


def test_nobody_can_choose_the_name_of_a_hashed_key() -> None:
    """Text that looks like the hash of another is hashed as well."""
    long = safe_name("x" * 2000)
    assert safe_name(long) != long
    assert safe_name("short") == "short"


@pytest.mark.parametrize("value", [object(), Anonymous(), Cents(5), lambda: 1, [object()], {"a": [object()]}])
def test_unclear_argument_is_refused_by_name(app: Flask, value: object) -> None:
    """What nothing stable tells apart cannot be in a key; the message names parameter and function."""
    with pytest.raises(UnsupportedValue, match=r"simple: the argument 'b'"):
        simple(1, value)
    assert calls == []


def test_argument_without_a_text_is_refused(app: Flask) -> None:
    """A list that holds itself has none, nor has a number that Python refuses to write out."""
    circle: list[object] = []
    circle.append(circle)
    for value in (circle, 10**5000):
        with pytest.raises(UnsupportedValue, match="'a'"):
            simple(value)


def test_wrong_call_is_the_functions_type_error(app: Flask) -> None:
    """Arguments that the function does not take are refused before anything is asked."""
    for args in ((), (1, 2, 3)):
        with pytest.raises(TypeError, match="argument"):
            simple(*args)
    with pytest.raises(TypeError, match="z"):
        simple(1, z=1)


def test_uncached_is_the_function(app: Flask) -> None:
    """`.uncached` neither reads nor stores."""
    assert [simple.uncached(1), simple(1), simple.uncached(1)] == [1, 2, 3]
    assert simple.__name__ == "simple"
    assert simple.__doc__ == simple.uncached.__doc__


def test_invalidate_forgets_this_call_alone(app: Flask) -> None:
    """The call named is made again, others are not."""
    simple(1), simple(2)
    assert simple.invalidate(a=1).applied
    assert [simple(1), simple(2)] == [3, 2]
    with pytest.raises(TypeError):
        simple.invalidate()


def test_invalidate_all_forgets_all_calls_of_this_function(app: Flask) -> None:
    """All calls are made again, and what was made of them, but no other function's."""
    profile(1), page(2), simple(1)
    profile.invalidate_all()
    origin_value[0] = 1
    assert (profile(1), page(2), simple(1)) == ("1:1", "<2:1>", 3)


def test_tags_are_formatted_with_the_arguments(app: Flask) -> None:
    """A tag named with an argument reaches the calls with that argument, and what was made of them."""
    assert (profile(1), profile(2), page(1)) == ("1:0", "2:0", "<1:0>")
    origin_value[0] = 1
    cache_of(app).invalidate_tags("user:1")
    assert (profile(1), profile(2), page(1)) == ("1:1", "2:0", "<1:1>")
    cache_of(app).invalidate_tags("users")
    assert profile(2) == "2:1"


def test_tags_may_be_a_function_of_the_arguments(app: Flask) -> None:
    """Each name that it returns reaches the call."""
    book("SOL", depth=5)
    cache_of(app).invalidate_tags("depth:6", "pair:BTC")
    assert book("SOL", 5) == 1
    cache_of(app).invalidate_tags("depth:5")
    assert book("SOL", 5) == 2


def test_odd_argument_in_a_tag_does_no_harm(app: Flask) -> None:
    """What a visitor sends may be formatted into a tag, control characters and all."""
    named = memoize(ttl=60, tags=["x:{a}"], name="odd")(lambda a: a)
    assert named("\n") == "\n"
    assert named("\0" * 2000) == "\0" * 2000


def test_key_function_tells_calls_apart(app: Flask) -> None:
    """With `key=` only its result counts."""
    assert by_id({"id": 1, "text": "a"}) == "a"
    assert by_id({"id": 1, "text": "b"}) == "a"
    assert by_id({"id": 2, "text": "b"}) == "b"


def test_methods_are_told_apart_by_cache_key(app: Flask) -> None:
    """Instances with one `cache_key` share, others and those of another class do not."""
    assert Account(1).balance() == Account(1).balance("EUR") == "1 EUR 0"
    assert Account(2).balance() == "2 EUR 0"
    assert len(calls) == 2
    Savings(1).balance()
    assert len(calls) == 3
    assert Account(1).balance.key_for() == Account.balance.key_for(Account(1))


def test_bound_method_has_everything(app: Flask) -> None:
    """On an instance, `.invalidate`, `.refresh` and `.uncached` know it."""
    account = Account(1)
    account.balance()
    origin_value[0] = 1
    assert account.balance() == "1 EUR 0"
    assert account.balance.uncached() == "1 EUR 1"
    assert account.balance.refresh() == account.balance() == "1 EUR 1"
    origin_value[0] = 2
    account.balance.invalidate()
    assert account.balance() == "1 EUR 2"


def test_class_and_static_methods_work(app: Flask) -> None:
    """Below @classmethod the class counts, below @staticmethod nothing else does."""
    assert (Account.kinds("FR"), Savings.kinds("FR"), Account.kinds("FR")) == (
        "Account FR",
        "Savings FR",
        "Account FR",
    )
    assert Account.rate("FR") == Account(5).rate("FR") == 3


def test_method_of_an_object_without_cache_key_is_refused(app: Flask) -> None:
    """Two instances are never taken for one; with `key=` the method works."""
    with pytest.raises(UnsupportedValue, match=r"'self'.*cache_key"):
        Anonymous().balance()
    assert Anonymous().on(date(2026, 1, 1)) == Anonymous().on(date(2026, 1, 1))
    assert len(calls) == 1


def test_async_function_is_refused() -> None:
    """The decorator says at once that it is synchronous."""

    async def fetch() -> int:
        return 1

    async def stream() -> Iterator[int]:
        yield 1

    for function in (fetch, stream):
        with pytest.raises(TypeError, match="async function"):
            memoize(ttl=1)(function)


def test_decorator_above_classmethod_is_refused() -> None:
    """The order that would not work is told apart from the one that does."""
    with pytest.raises(TypeError, match="below @classmethod"):
        memoize(ttl=1)(classmethod(lambda cls: 1))


def test_function_that_its_name_does_not_tell_apart_is_refused() -> None:
    """Lambdas and closures would share keys with their likes, so they need a name or a key."""

    def make(factor: int, **options: object) -> Memoized:
        return memoize(ttl=60, **options)(lambda x: x * factor)

    def named(factor: int, **options: object) -> Memoized:
        def times(x: int) -> int:
            return x * factor

        return memoize(ttl=60, **options)(times)

    with pytest.raises(ConfigurationError, match="name="):
        make(2)
    with pytest.raises(ConfigurationError, match="uses factor"):
        named(2)
    assert make(2, name="double").key_for(1) == "memo:double(1)"
    assert named(2, key=lambda x: (2, x)).key_for(1).endswith("times((2,1,))")


@pytest.mark.parametrize(
    "options",
    [
        {"ttl": 5, "policy": CachePolicy(ttl=5)},
        {"ttl": 0},
        {"ttl": 5, "tags": "users"},
        {"ttl": 5, "tags": ["user:{id}"]},
        {"ttl": 5, "tags": ["user:{"]},
    ],
)
def test_senseless_decorator_is_refused_at_once(options: dict[str, object]) -> None:
    """A contradiction, or a tag that names no parameter, is seen when the module is imported."""
    with pytest.raises(ConfigurationError):
        memoize(**options)(same_name.uncached)


def test_without_an_application_it_says_so() -> None:
    """Outside of any application context there is no cache, unless one was given."""
    with pytest.raises(RuntimeError, match="application context"):
        simple(1)


def test_given_cache_needs_no_application(make_cache: Callable[..., TieredCache]) -> None:
    """With `cache=` the function works in a program without Flask, refreshing included."""
    numbers = iter(range(9))
    count = memoize(ttl=60, cache=make_cache(), name="count")(lambda: next(numbers))
    assert [count(), count(), count.refresh(), count()] == [0, 0, 1, 1]


def test_each_application_has_results_of_its_own(app: Flask, namespace: str) -> None:
    """One function serves several applications of a process."""
    other = make_app("memory://", namespace)
    simple(1)
    with other.app_context():
        assert simple(1) == 2
    assert simple(1) == 1
    cache_of(other).close()


def test_sensitive_arguments_do_not_stand_in_the_key(make_cache: Callable[..., TieredCache]) -> None:
    """A policy that encrypts the value hides the arguments too."""
    policy = CachePolicy(ttl=60, sensitive=True)
    check = memoize(policy=policy, cache=make_cache(secret_keys=("k" * 32,)), name="check")(
        lambda token: token
    )
    assert check("hunter2") == "hunter2"
    assert "hunter2" not in check.key_for("hunter2")


def test_refresh_loads_now_for_all_processes(make_cache: Callable[..., TieredCache], redis_url: str) -> None:
    """What one process refreshed another reads, once told."""
    ours, theirs = (connected(make_cache(redis_url)) for _ in range(2))
    mine = memoize(ttl=60, cache=ours, name="value")(lambda a: origin_value[0])
    other = memoize(ttl=60, cache=theirs, name="value")(lambda a: origin_value[0])
    assert (mine(1), other(1)) == (0, 0)
    origin_value[0] = 1
    assert mine.refresh(1) == 1
    until(lambda: other(1) == 1, "the other process reads the new value")


def test_refresh_serves_the_old_value_meanwhile(make_cache: Callable[..., TieredCache]) -> None:
    """Until the new value is there, readers get the old one at once; a refresh that fails keeps it."""
    gate, entered, mode = threading.Event(), threading.Event(), ["old"]

    def load() -> str:
        if mode[0] == "failing":
            raise LookupError
        if mode[0] == "new":
            entered.set()
            gate.wait(5)
        return mode[0]

    value = memoize(ttl=60, cache=make_cache(), name="value", key=lambda: 1)(load)
    assert value() == "old"
    mode[0] = "new"
    refreshing = begin(value.refresh)
    assert entered.wait(5)
    assert value() == "old"
    gate.set()
    assert refreshing.result(10) == value() == "new"
    mode[0] = "failing"
    with pytest.raises(LookupError):
        value.refresh()
    assert value() == "new"


def test_refresh_does_not_take_an_older_load(make_cache: Callable[..., TieredCache]) -> None:
    """A load that began before the refresh was asked for is waited for, but is not what it returns."""
    gate, entered, boarding = threading.Event(), threading.Event(), threading.Event()
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        if len(loads) == 1:
            entered.set()
            gate.wait(5)
        return len(loads)

    cache = make_cache()
    value = memoize(ttl=60, cache=cache, name="v", key=lambda: 1)(load)
    reading = begin(value)
    assert entered.wait(5)
    original = cache.runtime.flights.board
    cache.runtime.flights.board = lambda *arguments: boarding.set() or original(*arguments)
    refreshing = begin(value.refresh)
    assert boarding.wait(5)
    gate.set()
    assert (reading.result(10), refreshing.result(10), value()) == (1, 2, 2)


def test_refresh_that_an_invalidation_overtakes_is_not_kept(
    make_cache: Callable[..., TieredCache], redis_url: str
) -> None:
    """What was loaded before an invalidation counts no more after it, refreshed or not."""
    gate, entered = threading.Event(), threading.Event()
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        if len(loads) == 1:
            entered.set()
            gate.wait(5)
        return len(loads)

    value = memoize(ttl=60, tags=["t"], cache=connected(make_cache(redis_url)), name="v", key=lambda: 1)(load)
    refreshing = begin(value.refresh)
    assert entered.wait(5)
    connected(make_cache(redis_url)).invalidate_tags("t")
    gate.set()
    assert refreshing.result(10) == 1
    until(lambda: value() == 2, "the invalidation is heard")


def test_what_is_made_of_a_refreshed_result_carries_its_tags(app: Flask) -> None:
    """A refresh inside another load hands up its tags, as a read does."""
    outer = memoize(ttl=60, name="outer")(lambda: profile.refresh(1))
    assert outer() == "1:0"
    origin_value[0] = 1
    cache_of(app).invalidate_tags("user:1")
    assert outer() == "1:1"


def test_background_refresh_has_the_application(app: Flask) -> None:
    """A refresh in a thread of its own runs within the application's context."""
    seen: list[str] = []
    ready = threading.Event()
    policy = CachePolicy(ttl=0.001, stale_while_revalidate=60)

    def load() -> str:
        seen.append(current_app.name)
        if len(seen) == 2:
            ready.set()
        return "value"

    value = memoize(policy=policy, name="named", key=lambda: 1)(load)
    value()
    until(lambda: value() and len(seen) >= 2, "the value is refreshed")
    assert ready.wait(5)
    assert set(seen) == {"shop"}


def test_names_of_repeated_calls_are_remembered_apart(make_cache: Callable[..., TieredCache]) -> None:
    """Equal arguments that are not the same keep names of their own, also the second time."""
    cache = make_cache()

    @memoize(ttl=60, cache=cache, tags=("of:{value}",))
    def shown(value: object) -> str:
        return repr(value)

    odd = [
        1,
        True,
        1.0,
        "1",
        b"1",
        0.0,
        -0.0,
        0,
        False,
        None,
        "",
        (1,),
        (True,),
        Decimal("1.0"),
        Decimal("1.00"),
    ]
    for _ in range(2):
        assert [shown(value) for value in odd] == [repr(value) for value in odd]
    assert len({shown.key_for(value) for value in odd}) == len(odd)


def test_remembered_names_are_bounded(
    make_cache: Callable[..., TieredCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many different calls there are."""
    monkeypatch.setattr("cache_ext.web.decorators._REMEMBERED", 3)

    @memoize(ttl=60, cache=make_cache())
    def same(value: int) -> int:
        return value

    assert [same(number) for number in range(10)] == list(range(10))
    same.key_for("long" * 1_000)  # type: ignore[arg-type]
    assert not any("long" in str(args) for args in same._recipe._named)
    assert len(same._recipe._named) <= 3
