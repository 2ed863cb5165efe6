"""Sessions that go on in their account's next epoch, while copies of those that ended do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from cache_ext.sessions.store import SessionStore
from tests.session_stage import Shop, cookie_of, held_write, session_keys


@pytest.fixture
def epochs() -> dict[int, int]:
    """The epochs of accounts, as a database has them."""
    return {7: 1}


@pytest.fixture
def epochal(make_shop: Callable[..., Shop], epochs: dict[int, int]) -> Shop:
    """A shop where they matter."""
    return make_shop(epochs)


def who(client: Any) -> int | None:
    """Return the account that the shop takes *client* for."""
    return client.get("/who").json


def test_sessions_go_on_under_their_ids_with_all_they_hold(epochal: Shop, epochs: dict[int, int]) -> None:
    """In the order in which they began, and as old as they are."""
    clients = [epochal.signed_in(7) for _ in range(3)]
    for number, client in enumerate(clients):
        client.get(f"/set/number/{number}")
    before = epochal.sessions.list(7)
    epochs[7] = 2
    assert [who(client) for client in clients] == [None] * 3
    epochal.sessions.carry_over(7, 1, 2)
    assert [who(client) for client in clients] == [7] * 3
    assert [client.get("/get").json for client in clients] == [{"number": str(number)} for number in range(3)]
    after = epochal.sessions.list(7)
    assert [(each.id, each.created, each.ends) for each in after] == [
        (each.id, each.created, each.ends) for each in before
    ]


def test_what_ended_in_the_epoch_before_is_not_carried_along(
    epochal: Shop, epochs: dict[int, int], redis_url: str
) -> None:
    """An intruder puts it back, into the list as well: neither now nor the next time does it count again."""
    ended, stays = epochal.signed_in(7), epochal.signed_in(7)
    sid = cookie_of(ended)
    with redis.Redis.from_url(redis_url) as intruder:
        names = [key for key in intruder.scan_iter() if b":x:session" in key and b"sessions" not in key]
        (index,) = (key for key in intruder.scan_iter() if key.endswith(b":x:sessions:7"))
        listed = intruder.lrange(index, 0, -1)
        kept = {name: intruder.get(name) for name in names}
        epochal.sessions.revoke(7, listed[0].decode())
        for epoch in (2, 3):
            before, epochs[7] = epochs[7], epoch
            epochal.sessions.carry_over(7, before, epoch)
            ended.set_cookie("session", sid)
            assert (who(ended), who(stays)) == (None, 7)
            for name, blob in kept.items():
                if name.endswith(listed[0]):
                    intruder.set(name, blob)
            intruder.delete(index)
            intruder.rpush(index, *listed)
            assert (who(ended), who(stays)) == (None, 7)
            assert [each.id.encode() for each in epochal.sessions.list(7)] == [listed[1]]


def test_a_write_under_way_does_not_take_a_session_back(epochal: Shop, epochs: dict[int, int]) -> None:
    """It was read in the epoch before, and its change goes onto the session of the new one."""
    client = epochal.signed_in(7)

    def meanwhile() -> None:
        epochs[7] = 2
        epochal.sessions.carry_over(7, 1, 2)

    assert held_write(epochal, client, meanwhile).status_code == 200
    assert who(client) == 7
    assert client.get("/get").json == {"late": "1"}


@pytest.mark.parametrize("change", ["write", "end"])
def test_what_changes_while_it_is_carried_over_is_not_lost(
    epochal: Shop, epochs: dict[int, int], redis_url: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody writes the session, or ends it, between its being read and stored."""
    client = epochal.signed_in(7)
    carry = SessionStore.carry_over

    def late(store: SessionStore, kept: Any, epoch: int) -> None:
        if change == "write":
            epochs[7] = 1
            client.get("/set/fruit/apple")
            epochs[7] = 2
        else:
            epochal.sessions.revoke_all(7)
        carry(store, kept, epoch)

    monkeypatch.setattr(SessionStore, "carry_over", late)
    epochs[7] = 2
    epochal.sessions.carry_over(7, 1, 2)
    if change == "write":
        assert (who(client), client.get("/get").json) == (7, {"fruit": "apple"})
    else:
        assert (who(client), session_keys(redis_url)) == (None, [])
