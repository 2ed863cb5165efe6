"""A real Varnish, with the VCL of deploy/, in front of a real gunicorn: what it keeps and forgets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cache_ext.cdn.names import SurrogateNames
from tests.caches import begin
from tests.cdn_debtor import killed_while_invalidating
from tests.cdn_stage import PATIENCE
from tests.processes import free_port
from tests.servers import RunningServer, SharedServers
from tests.service import ROOT, GunicornService
from tests.varnish import Front
from tests.waiting import until

TOKEN = "a-token-for-purges"
AGAIN_AFTER = 3.0
"""Seconds; long enough for a busy machine to hold, release and look in between."""
GUNICORN_CONF = """
import os
bind, workers, worker_class = os.environ["SHIVX_BIND"], 2, "gevent"
control_socket_disable = True
"""
TOLD = ("surrogate-key", "surrogate-control", "cdn-cache-control")


@pytest.fixture(scope="module")
def stage(
    shared_servers: SharedServers, start_varnish, tmp_path_factory
) -> Iterator[tuple[Front, GunicornService, str]]:
    """A Varnish in front of the application of `cdn_member`, and the address of its Redis."""
    root: Path = tmp_path_factory.mktemp("cdn")
    (root / "wsgi.py").write_text("from tests.cdn_member import make_app\n\napp = make_app()\n")
    (root / "gunicorn.conf.py").write_text(GUNICORN_CONF)
    bind = f"127.0.0.1:{free_port()}"
    varnish, server = start_varnish(f"http://{bind}", TOKEN), RunningServer("valkey")
    env = {
        "PYTHONPATH": f"{root}:{ROOT}",
        "TEST_REDIS": server.url,
        "TEST_VARNISH": varnish.url,
        "TEST_TOKEN": TOKEN,
        "TEST_AGAIN_AFTER": str(AGAIN_AFTER),
    }
    try:
        with GunicornService(root=root, bind=bind, env=env) as service:
            others = [server, service]
            shared_servers.others.extend(others)
            yield Front(varnish), service, server.url
            for each in others:
                shared_servers.others.remove(each)
    finally:
        server.close()


@pytest.fixture
def front(stage) -> Front:
    """The Varnish."""
    return stage[0]


@pytest.fixture
def origin(stage) -> GunicornService:
    """What is behind it."""
    return stage[1]


@pytest.fixture
def desk(stage) -> Iterator[redis.Redis]:
    """What the application goes by."""
    with redis.Redis.from_url(stage[2].replace("/0", "/1"), decode_responses=True) as desk:
        desk.flushall()
        desk.set("fact", "old")
        yield desk


def until_purged(desk: redis.Redis, tag: str) -> None:
    """Wait until Varnish has been told to forget *tag*, once more than it was waited for before."""
    (name, _) = sorted(
        SurrogateNames("cdn").header([tag]).split(), key=SurrogateNames("cdn").everything.__eq__
    )
    while True:
        told = desk.blpop(["purged"], 3 * PATIENCE)
        assert told is not None, f"{tag} was not purged"
        if name in told[1].split():
            return


def invalidate(origin: GunicornService, desk: redis.Redis, tag: str) -> None:
    """Invalidate *tag*, and wait until Varnish has been told."""
    assert json.loads(origin.send("POST", "/", tag.encode()).body) == {"applied": True}
    until_purged(desk, tag)


def test_an_answer_is_kept_until_its_tag_is_invalidated(front, origin, desk):
    """By its digest, whatever characters the tag has; other answers stay."""
    assert [front.get("/one") for _ in range(2)] == [("MISS", "old"), ("HIT", "old")]
    assert [front.get("/two") for _ in range(2)] == [("MISS", "old"), ("HIT", "old")]
    desk.set("fact", "new")
    assert front.get("/one") == ("HIT", "old")
    invalidate(origin, desk, "Ä one0")
    assert front.get("/one") == ("MISS", "new")
    assert front.get("/two") == ("HIT", "old")


def test_no_stale_hit_after_the_second_purge(front, origin, desk):
    """A fetch that began before the invalidation and came in after the first purge is stored, and purged."""
    desk.set("hold", 1)
    held = begin(lambda: front.get("/held"))
    assert desk.blpop(["arrived"], PATIENCE)
    desk.set("fact", "new")
    invalidate(origin, desk, "Ä held0")
    desk.delete("hold")
    desk.rpush("release", 1)
    assert held.result(PATIENCE) == ("MISS", "old")
    assert front.get("/held") == ("HIT", "old")  # why one purge is not enough
    until_purged(desk, "Ä held0")
    assert front.get("/held") == ("MISS", "new")
    assert front.get("/held") == ("HIT", "new")


def test_an_answer_with_too_many_tags_is_purged_by_each_of_them(front, origin, desk):
    """Varnish takes its header, which names groups, by its own defaults."""
    for number in (0, 1_999):
        assert front.get("/many") == ("MISS", "old")
        assert front.get("/many") == ("HIT", "old")
        invalidate(origin, desk, f"Ä many{number}")
    assert front.get("/many") == ("MISS", "old")


def test_what_belongs_to_one_caller_is_stripped_from_what_is_kept(front, desk):
    """And what is between Varnish and its origin never leaves it."""
    for _ in range(2):
        status, headers, _ = front.ask("GET", "/stripped")
        assert status == 200
        gone = {
            "ratelimit",
            "x-request-id",
            "surrogate-key",
            "surrogate-control",
            "cdn-cache-control",
            "xkey",
        }
        assert not gone & set(headers)
    assert headers["x-cache"] == "HIT"
    assert headers["cache-control"] == "public, max-age=600"


def test_an_answer_with_a_cookie_is_its_caller_s(front, desk):
    """It is passed on whole, and never kept."""
    for _ in range(2):
        _, headers, _ = front.ask("GET", "/cookie")
        assert headers["x-cache"] == "MISS"
        assert headers["set-cookie"].startswith("whose=mine")
        assert headers["ratelimit"] == "mine"


@pytest.mark.parametrize(
    "header", ["Authorization", "X-API-Key", "Cookie", "Cache-Control: no-cache"], ids=str.lower
)
def test_who_says_who_he_is_gets_his_own_answer(front, desk, header):
    """With his own limit; so does who wants it fresher than it is kept."""
    name, _, value = header.partition(": ")
    front.get("/known")
    _, headers, _ = front.ask("GET", "/known", {name: value or "somebody"})
    assert headers["x-cache"] == "MISS"
    assert headers["ratelimit"] == "mine"


@pytest.mark.parametrize(
    ("headers", "source", "status"),
    [
        ({"Xkey-Purge": "x"}, "127.0.0.1", 403),
        ({"Xkey-Purge": "x", "Purge-Token": ""}, "127.0.0.1", 403),
        ({"Xkey-Purge": "x", "Purge-Token": TOKEN + "x"}, "127.0.0.1", 403),
        ({"Xkey-Purge": "x", "Purge-Token": TOKEN}, "127.0.0.2", 403),
        ({"Purge-Token": TOKEN}, "127.0.0.1", 400),
        ({"Xkey-Purge": "x", "Purge-Token": TOKEN}, "127.0.0.1", 200),
    ],
)
def test_a_purge_needs_the_token_and_the_address(front, headers, source, status):
    """Both; and names."""
    assert front.ask("PURGE", "/", headers, source)[0] == status


def test_a_refused_purge_purges_nothing(front, origin, desk):
    """With the right name but without the token."""
    front.get("/guarded")
    key = origin.get("/guarded").headers["Surrogate-Key"]
    assert front.ask("PURGE", "/", {"Xkey-Purge": key})[0] == 403
    assert front.ask("PURGE", "/guarded", {})[0] == 403
    assert front.get("/guarded") == ("HIT", "old")
    assert front.ask("PURGE", "/", {"Xkey-Purge": key, "Purge-Token": TOKEN})[0] == 200
    assert front.get("/guarded") == ("MISS", "old")


def test_nobody_waits_for_a_varnish_that_is_away(front, origin, desk):
    """The invalidation is applied at once; Varnish is told when it is back."""
    front.varnish.stop()
    try:
        assert json.loads(origin.send("POST", "/", b"any").body) == {"applied": True}
    finally:
        front.varnish.start()
    until_purged(desk, "any")


@pytest.mark.parametrize("step", ["before", "between"])
def test_no_stale_hit_after_who_invalidated_was_killed(front, origin, desk, stage, step):
    """What was being fetched is forgotten all the same: the workers that live see to it."""
    path = f"/held-{step}"  # no other test has it kept
    desk.set("hold", 1)
    held = begin(lambda: front.get(path))
    assert desk.blpop(["arrived"], PATIENCE)
    desk.set("fact", "new")
    killed_while_invalidating(
        url=stage[2],
        namespace="cdn",
        tag=f"Ä held-{step}0",
        step=step,
        again_after=AGAIN_AFTER,
        patience=5.0,
        varnish=front.varnish.url,
        token=TOKEN,
    )
    desk.delete("hold")
    desk.rpush("release", 1)
    assert held.result(PATIENCE) == ("MISS", "old")
    until(lambda: front.get(path)[1] == "new", "what was stored is purged", 6 * PATIENCE)
