"""Logging in: whoever fails learns nothing but that he failed, and soon has to wait."""

from __future__ import annotations

import logging
import statistics
import threading
import time
import unicodedata

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from shivx.accounts import passwords as passwords_module
from shivx.accounts.facts import Account
from shivx.accounts.login import PER_ACCOUNT, PER_ADDRESS, LoginRefused
from shivx.accounts.passwords import Passwords, TooBusy
from shivx.errors import InvalidParameter
from shivx.identity import Tier
from tests.accounts_stage import CHEAP, PASSWORD, sqlite_url
from tests.caches import PATIENCE, begin
from tests.waiting import until

HERE = "address:203.0.113.7"
WRONG = LoginRefused()


@pytest.fixture
def empty_database_url(tmp_path):
    """What does not depend on the database is shown on one kind."""
    return sqlite_url(tmp_path)


@pytest.fixture
def alice(office):
    """An account with a password."""
    return office.accounts.create("alice", Tier.PREMIUM, PASSWORD)


def test_name_and_password_let_in(office, alice):
    """However the name is written."""
    assert office.login.verify("Alice", PASSWORD, HERE) == alice


@pytest.mark.parametrize(
    "name", ["nobody", "", "a\x00b", "\ud800", "x" * 100_000, "alice' OR 1=1 --", "\u0430lice"]
)
def test_an_unknown_name_is_answered_as_a_wrong_password(office, alice, name):
    """The same object, whatever the name is."""
    assert office.login.verify(name, PASSWORD, HERE) == WRONG
    assert office.login.verify("alice", PASSWORD + "!", HERE) == WRONG


@pytest.mark.parametrize(
    "password", ["", "\x00", "\ud800", "x" * 10_000_000, PASSWORD + "\x00", PASSWORD[:-1]]
)
def test_no_password_but_the_right_one_lets_in(office, alice, password):
    """Empty, no text, megabytes, cut."""
    assert office.login.verify("alice", password, HERE) == WRONG


def test_an_account_without_password_lets_nobody_in(office):
    """A service's, say."""
    office.accounts.create("bot", Tier.SERVICE)
    for password in ("", "None", PASSWORD):
        assert office.login.verify("bot", password, HERE) == WRONG


def test_a_disabled_account_lets_nobody_in(office, alice):
    """And says no more than that name and password do not fit."""
    office.accounts.disable(alice.id)
    assert office.login.verify("alice", PASSWORD, HERE) == WRONG


def test_a_password_counts_however_it_is_typed(office):
    """Keyboards differ in whether accents are characters of their own."""
    composed = unicodedata.normalize("NFC", "cr\u00e8me br\u00fbl\u00e9e")
    office.accounts.create("chef", Tier.AUTHENTICATED, unicodedata.normalize("NFD", composed))
    assert isinstance(office.login.verify("chef", composed, HERE), Account)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025, "x" * 10_000_000, "\ud800" * 10])
def test_a_bad_password_is_refused_and_not_shown(office, password):
    """When an account is made, and when it is given another."""
    with pytest.raises(InvalidParameter) as refused:
        office.accounts.create("fred", Tier.AUTHENTICATED, password)
    assert len(str(refused.value)) < 100
    assert office.accounts.list() == []


def test_every_failure_costs_one_comparison(office, alice, monkeypatch):
    """Whether there is such an account, whether it has a password, whether it is disabled."""
    office.accounts.create("bot", Tier.SERVICE)
    asked = []
    original = PasswordHasher.verify
    lengths = []

    def verify(self, kept, raw):
        asked.append(kept)
        lengths.append(len(raw))
        return original(self, kept, raw)

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for name, password in (
        ("alice", "wrong"),
        ("alice", "x" * 5000),
        ("alice", "\ud800"),
        ("nobody", PASSWORD),
        ("no\x00body", PASSWORD),
        ("bot", PASSWORD),
    ):
        asked.clear()
        assert office.login.verify(name, password, HERE) == WRONG
        (kept,) = asked
        assert kept.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert max(lengths) < 1024  # what is too long to be a password is not hashed


def test_unknown_names_take_as_long_as_wrong_passwords(make_office):
    """With costs that can be measured, the medians are within a quarter of one another."""
    office = make_office(hasher=PasswordHasher(time_cost=8, memory_cost=8192, parallelism=1))
    office.accounts.create("alice", Tier.PREMIUM, PASSWORD)

    def seconds(name):
        office.limiter.counts.clear()
        start = time.perf_counter()
        assert office.login.verify(name, "wrong password", HERE) == WRONG
        return time.perf_counter() - start

    pairs = [(seconds("alice"), seconds("nobody")) for _ in range(15)]
    known, unknown = (statistics.median(times) for times in zip(*pairs, strict=True))
    assert abs(known - unknown) < 0.25 * max(known, unknown)


def test_attempts_at_one_account_are_counted(office, alice):
    """From wherever they come; the right password has to wait as well."""
    for number in range(PER_ACCOUNT):
        assert office.login.verify("ALICE", "wrong", f"address:203.0.113.{number}") == WRONG
    refused = office.login.verify("alice", PASSWORD, "address:203.0.113.200")
    assert refused == LoginRefused(retry_after=17.0)


def test_attempts_at_a_name_that_is_none_are_counted_alike(office):
    """Else throttling would tell who exists."""
    for number in range(PER_ACCOUNT):
        assert office.login.verify("nobody", "wrong", f"address:203.0.113.{number}") == WRONG
    assert office.login.verify("nobody", "wrong", "address:203.0.113.200").retry_after == 17.0


def test_attempts_from_one_address_are_counted(office, alice):
    """At whichever accounts; others still get in."""
    for number in range(PER_ADDRESS):
        assert office.login.verify(f"user{number}", "wrong", HERE) == WRONG
    assert office.login.verify("alice", PASSWORD, HERE).retry_after == 17.0
    assert office.login.verify("alice", PASSWORD, "address:203.0.113.8") == alice


def test_a_hash_with_old_costs_is_renewed(make_office):
    """At the next login; the one after that finds nothing to do."""
    made = make_office().accounts.create("alice", Tier.PREMIUM, PASSWORD)
    dearer = make_office(hasher=PasswordHasher(time_cost=2, memory_cost=16, parallelism=1))
    assert dearer.login.verify("alice", PASSWORD, HERE) == made
    renewed = dearer.accounts.named("alice").password_hash
    assert "m=16,t=2,p=1" in renewed
    assert dearer.login.verify("alice", PASSWORD, HERE) == made
    assert dearer.accounts.named("alice").password_hash == renewed


def test_a_renewed_hash_does_not_undo_a_new_password(office, alice):
    """The password was changed between the comparison and the writing."""
    known = office.accounts.named("alice")
    office.accounts.set_password(alice.id, "another password")
    office.accounts.renew_hash(known, PASSWORD)
    assert office.login.verify("alice", PASSWORD, HERE) == WRONG
    assert isinstance(office.login.verify("alice", "another password", HERE), Account)


@pytest.mark.parametrize("kept", ["", "garbage", "$argon2id$v=19$m=8,t=1,p=1$AAAA$", "$argon2i$v=19$"])
def test_a_damaged_hash_is_a_wrong_password(office, alice, kept):
    """And nothing that could be seen from outside."""
    change = text("UPDATE accounts SET password_hash = :kept")
    office.database.write(lambda session: session.execute(change, {"kept": kept}) and None)
    assert office.login.verify("alice", PASSWORD, HERE) == WRONG


def test_passwords_are_hashed_a_few_at_a_time(office, alice, monkeypatch):
    """Each takes a lot of memory; who has no turn in time is told to come again."""
    monkeypatch.setattr(office.login._passwords, "_patience", 0.01)
    turns = office.login._passwords._turns
    for _ in range(passwords_module.AT_ONCE):
        turns.acquire()
    assert begin(lambda: office.login.verify("alice", PASSWORD, HERE)).result(10) == LoginRefused(1.0)
    with pytest.raises(TooBusy):
        office.accounts.set_password(alice.id, PASSWORD)
    turns.release()
    assert office.login.verify("alice", PASSWORD, HERE) == alice


class SlowHasher(PasswordHasher):
    """Notes how many hash at once, and lets nobody go on before it is told to."""

    def __init__(self):
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.at_once = self.most = 0
        self.lock, self.go = threading.Lock(), threading.Event()

    def verify(self, *words):
        """Do so in the end."""
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.go.wait(PATIENCE)
        with self.lock:
            self.at_once -= 1
        return super().verify(*words)


def test_never_more_than_two_passwords_are_hashed_at_once(make_office):
    """Right, wrong, of nobody, of a key's owner without one: of ten at once two are hashed, then two more."""
    hasher = SlowHasher()
    office = make_office(hasher=hasher)
    office.accounts.create("alice", Tier.PREMIUM, PASSWORD)
    office.accounts.create("bot", Tier.SERVICE)
    tries = [("alice", PASSWORD), ("alice", "wrong"), ("nobody", PASSWORD), ("bot", PASSWORD), ("", "")]
    logins = [begin(lambda each=each: office.login.verify(*each, HERE)) for each in tries * 2]
    until(lambda: hasher.at_once == passwords_module.AT_ONCE, "two are being hashed")
    turns = office.login._passwords._turns
    assert not turns.acquire(blocking=False)
    hasher.go.set()
    answers = [login.result(PATIENCE) for login in logins]
    assert [answer for answer in answers if answer != WRONG] == [answers[0]] * 2
    assert hasher.most == passwords_module.AT_ONCE == 2


def test_usual_costs_are_those_of_the_rfc():
    """Argon2id with 64 MiB, three passes, four lanes: RFC 9106, second choice."""
    hasher = Passwords()._hasher
    assert (hasher.type.name, hasher.memory_cost, hasher.time_cost, hasher.parallelism) == ("ID", 65536, 3, 4)


def test_no_password_is_in_any_log_or_error(office, alice, caplog):
    """Whatever goes wrong: not in the log at its most talkative, not in what is raised."""
    secret = "hunter2-" * 3
    with caplog.at_level(logging.DEBUG):
        office.accounts.set_password(alice.id, secret)
        office.login.verify("alice", secret, HERE)
        office.login.verify("alice", secret + "x", HERE)
        with pytest.raises(Exception) as raised:  # noqa: PT011 (any)
            office.accounts.create("alice", Tier.PREMIUM, secret)
        kept = office.accounts.named("alice")
    assert "hunter2" not in caplog.text + repr(raised.value) + repr(kept)
    assert kept.password_hash not in caplog.text + repr(kept)
    assert CHEAP.verify(kept.password_hash, secret)
