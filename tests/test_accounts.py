"""Accounts: made once each, changed for all processes at once, and named so that nobody is fooled."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shivx.accounts.accounts import UnknownAccount
from shivx.accounts.naming import account_name, key_name
from shivx.errors import Conflict, InvalidParameter
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.caches import all_at_once


def test_an_account_is_what_it_was_made_as(office):
    """Its name in lower case, its tier, enabled, with an epoch of its own."""
    made = office.accounts.create("Alice", Tier.PREMIUM, PASSWORD)
    assert (made.name, made.tier, made.disabled) == ("alice", Tier.PREMIUM, False)
    assert office.accounts.get(made.id) == office.accounts.named("ALICE").account == made
    assert office.accounts.epoch(made.id) == made.epoch


def test_of_two_who_make_one_name_at_once_one_does(office):
    """The other is told so, and there is one account."""

    def make(number):
        try:
            return office.accounts.create("carol", Tier.AUTHENTICATED, f"{PASSWORD}{number}").id
        except Conflict as conflict:
            return str(conflict)

    results = all_at_once(4, make)
    assert sorted(map(str, results))[1:] == ["there is an account called carol"] * 3
    assert [account.name for account in office.accounts.list()] == ["carol"]


def test_names_that_differ_by_case_are_one(office):
    """So nobody can pass for another."""
    office.accounts.create("dave", Tier.AUTHENTICATED)
    with pytest.raises(Conflict):
        office.accounts.create("Dave", Tier.AUTHENTICATED)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a\x00b",
        "a\nb",
        "a\x1b[31m",
        "adm\u0131n",
        "\u0430dmin",
        "a\u202eb",
        "\ud800",
        "-a",
        "a.",
        "a" * 65,
        "a" * 10_000_000,
        "\u212aelvin",
    ],
)
def test_a_name_that_could_fool_anybody_is_refused(office, name):
    """Control characters, other alphabets, invisible marks, lone surrogates, megabytes."""
    with pytest.raises(InvalidParameter) as refused:
        office.accounts.create(name, Tier.AUTHENTICATED)
    assert len(str(refused.value)) < 200
    with pytest.raises(UnknownAccount):
        office.accounts.named(name)


@pytest.mark.parametrize("name", ["a", "a1", "bob@example.com", "first.last+bot-7_x", "a" * 64])
def test_usual_names_are_fine(name):
    """Mail addresses among them."""
    assert account_name(name.upper()) == name


@pytest.mark.parametrize(
    "name", ["", "  ", "a\x00", "a\nb", "a\u202eb", "a\u200bb", "\ud800", "a" * 101, "e" * 10**6]
)
def test_a_label_that_nobody_can_read_is_refused(name):
    """Keys are called by any line of visible text."""
    with pytest.raises(InvalidParameter):
        key_name(name)


def test_a_label_has_one_form():
    """Composed or not, it is the same."""
    assert key_name(" cafe\u0301 bot ") == key_name("caf\u00e9 bot") == "caf\u00e9 bot"


def test_nobody_is_anonymous_with_an_account(office):
    """That tier is of those who have none."""
    with pytest.raises(InvalidParameter):
        office.accounts.create("eve", Tier.ANONYMOUS)
    made = office.accounts.create("eve", Tier.SERVICE)
    with pytest.raises(InvalidParameter):
        office.accounts.set_tier(made.id, Tier.ANONYMOUS)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda office, id: office.accounts.disable(id), lambda account: account.disabled),
        (
            lambda office, id: office.accounts.set_tier(id, Tier.ADMIN),
            lambda account: account.tier is Tier.ADMIN,
        ),
        (lambda office, id: office.accounts.set_password(id, PASSWORD), lambda account: True),
        (lambda office, id: office.accounts.bump_epoch(id), lambda account: True),
    ],
)
def test_a_change_is_known_at_once_and_ends_sessions(office, change, seen):
    """What was known of the account before it counts no more; its epoch is another."""
    made = office.accounts.create("frank", Tier.AUTHENTICATED)
    assert office.accounts.get(made.id) == made
    changed = change(office, made.id)
    assert office.accounts.get(made.id) == changed
    assert changed.epoch != made.epoch
    assert seen(changed)


def test_a_disabled_account_can_be_let_in_again(office):
    """It was a mistake, perhaps."""
    made = office.accounts.create("gina", Tier.AUTHENTICATED)
    office.accounts.disable(made.id)
    assert not office.accounts.disable(made.id, False).disabled


def test_what_does_not_exist_cannot_be_changed_or_read(office):
    """Each says so."""
    for call in (
        office.accounts.get,
        office.accounts.epoch,
        office.accounts.bump_epoch,
        office.accounts.disable,
        lambda id: office.accounts.set_tier(id, Tier.ADMIN),
        lambda id: office.accounts.set_password(id, PASSWORD),
    ):
        with pytest.raises(UnknownAccount):
            call(4711)


def test_accounts_come_in_pages(office):
    """Each once, in order."""
    made = [office.accounts.create(f"user{number}", Tier.AUTHENTICATED).id for number in range(5)]
    first = office.accounts.list(limit=3)
    assert [each.id for each in (*first, *office.accounts.list(after=first[-1].id))] == made


def test_a_number_is_never_given_twice(office):
    """Else an old session or key would belong to somebody new."""
    made = office.accounts.create("hugo", Tier.AUTHENTICATED)
    office.database.write(lambda session: session.execute(text("DELETE FROM accounts")) and None)
    assert office.accounts.create("ivan", Tier.AUTHENTICATED).id > made.id
