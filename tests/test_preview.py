"""A preview counts what an invalidation would hit, in small bites, and changes nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from flask import Flask

from cache_ext import MISS, CacheExt, CachePolicy, ConfigurationError, Preview, StoreUnavailable
from cache_ext.keys import KeySpace
from cache_ext.stores import walking
from cache_ext.transport.budget import current_budget
from tests.caches import connected
from tests.waiting import until

SHORT = CachePolicy(ttl=0.05, stale_if_error=60, early_refresh=False)


def fill(cache, count, prefix="k", tags=("t",), **options):
    """Keep *count* values under *tags*."""
    for number in range(count):
        cache.set(f"{prefix}{number}", number, tags=tags, **(options or {"ttl": 60}))


def test_it_counts_what_carries_the_tag(cache):
    """Of all that lies there it counts what an invalidation would hit, with some of the names."""
    fill(cache, 5)
    fill(cache, 3, "other", ("u",))
    found = cache.preview("t")
    assert (found.matched, found.fresh, found.copies) == (5, 5, 5)
    assert found.examined == 8
    assert sorted(found.names) == [f"k{number}" for number in range(5)]
    assert found.bytes > 5 * 20
    assert found.share == 1.0


def test_it_changes_nothing(cache):
    """Whatever it counts counts afterwards as before."""
    fill(cache, 3)
    cache.preview("t", everything=True, keys=["k0"])
    assert [cache.get(f"k{number}") for number in range(3)] == [0, 1, 2]


def test_it_counts_keys(cache):
    """Named keys are counted, once each, and those that are not there are not."""
    fill(cache, 3)
    found = cache.preview(keys=["k0", "k1", "nothing", "k0"])
    assert (found.matched, sorted(found.names)) == (2, ["k0", "k1"])
    both = cache.preview("t", keys=["k0"])
    assert both.matched == 3


def test_it_counts_everything(cache):
    """What `clear` would hit is all that counts."""
    fill(cache, 3)
    fill(cache, 2, "plain", ())
    assert cache.preview(everything=True).matched == 5


def test_aimed_at_nothing_it_hits_nothing(cache):
    """Without a name nothing is hit."""
    fill(cache, 2)
    assert cache.preview().matched == 0


def test_a_name_that_makes_no_sense_is_refused(cache):
    """As an invalidation refuses it."""
    with pytest.raises(ConfigurationError):
        cache.preview("")
    with pytest.raises(ConfigurationError):
        cache.preview(keys=["x\n"])


def test_what_counts_no_more_is_not_hit(cache):
    """Values that another invalidation ended are not counted again; softly ended ones may still serve."""
    fill(cache, 3, tags=("t", "gone"))
    fill(cache, 2, "soft", tags=("t", "softly"), policy=CachePolicy(ttl=60, stale_if_error=60))
    fill(cache, 1, "kept")
    cache.invalidate_tags("gone")
    cache.invalidate_tags("softly", soft=True)
    found = cache.preview("t")
    assert (found.matched, found.fresh) == (3, 1)
    cache.clear()
    assert cache.preview("t").matched == 0


def test_stale_values_are_told_from_fresh_ones(cache):
    """What is past its ttl and kept for its stale window is counted, and not as fresh."""
    fill(cache, 2, "short", policy=SHORT)
    fill(cache, 1)
    until(lambda: cache.get("short1") is MISS, "they are stale")
    found = cache.preview("t")
    assert (found.matched, found.fresh) == (3, 1)


def test_names_are_a_sample(cache):
    """However much is hit, twenty names are told."""
    fill(cache, 50)
    found = cache.preview("t")
    assert found.matched == 50
    assert len(set(found.names)) == 20


def test_progress_is_told_and_may_stop_it(make_cache, redis_url, monkeypatch):
    """It tells how far it is, up to 1; told to stop, it returns what it has and says how much that is."""
    monkeypatch.setattr(walking, "PAGE", 10)
    cache = connected(make_cache(redis_url))
    fill(cache, 100)
    shares = []
    found = cache.preview("t", progress=lambda share: shares.append(share) or True)
    assert shares == sorted(shares)
    assert shares[-1] == found.share == 1.0
    assert len(shares) >= 10
    assert found.matched == 100
    part = cache.preview("t", progress=lambda share: share < 0.3)
    assert 0 < part.matched < 100
    assert 0.3 <= part.share < 0.9


def test_every_round_trip_is_bounded(make_cache, redis_url, monkeypatch):
    """No command blocks the server for long, and no reply is large: pages, few values, few bytes."""
    monkeypatch.setattr(walking, "PAGE", 20)
    monkeypatch.setattr(walking, "MAX_TRIP_KEYS", 8)
    monkeypatch.setattr(walking, "MAX_TRIP_BYTES", 10_000)
    cache = connected(make_cache(redis_url))
    for number in range(60):
        cache.set(f"k{number}", b"x" * (3_000 if number % 2 else 10), ttl=60, tags=["t"])
    cache.set("large", b"x" * 50_000, ttl=60, tags=["t"])
    trips = []
    run = cache.gateway.run

    def watched(commands, *rest):
        replies = run(commands, *rest)
        trips.append((commands, replies))
        return replies

    monkeypatch.setattr(cache.gateway, "run", watched)
    assert cache.preview("t").matched == 61
    kinds = {command[0] for commands, _ in trips for command in commands}
    assert kinds <= {"DBSIZE", "SCAN", "STRLEN", "GET", "MGET", "TIME"}
    assert all(command[5] == 20 for commands, _ in trips for command in commands if command[0] == "SCAN")
    for commands, replies in trips:
        if commands[0][0] == "GET":
            assert len(commands) <= 8
            assert len(commands) == 1 or sum(map(len, replies)) <= 10_000


def test_odd_values_are_counted_apart(make_cache, redis_url, namespace):
    """What lies under the namespace and is no entry is neither hit nor an error."""
    cache = connected(make_cache(redis_url, max_entry_bytes=10_000))
    fill(cache, 2)
    place = KeySpace(namespace).value
    prefix = place("k0").split(":v:")[0]
    with redis.Redis.from_url(redis_url) as client:
        client.set(place("nonsense"), b"nonsense")
        client.set(place("empty"), b"")
        client.set(place("large"), b"x" * 20_000)
        client.set(prefix.encode() + b":v:\xff\xfe", b"x")
        client.set(prefix + ":v:a\x1b[31mname", b"x")
        client.set(f"{namespace}:{{99}}:v:k0", client.get(place("k0")))
        client.hset(place("hash"), "a", "b")  # of another type: nobody would read it
        client.set("somebody:{01}:v:else", b"x")
    got = []
    run = cache.gateway.run
    cache.gateway.run = lambda commands, *rest: got.extend(commands) or run(commands, *rest)
    found = cache.preview("t")
    assert (found.matched, found.examined, found.undecodable) == (2, 2, 6)
    assert ("GET", place("nonsense")) in got
    assert ("GET", place("large")) not in got


def test_what_it_cannot_open_is_counted_apart(make_cache, redis_url):
    """Values sealed under keys that this process does not have are none to it."""
    policy = CachePolicy(ttl=60, sensitive=True)
    owner = connected(make_cache(redis_url, secret_keys=("k" * 32,)))
    owner.set("secret", 1, policy=policy, tags=["t"])
    assert owner.preview("t").matched == 1
    stranger = connected(make_cache(redis_url, secret_keys=("x" * 32,)))
    found = stranger.preview("t")
    assert (found.matched, found.undecodable) == (0, 1)


def test_it_is_an_estimate_where_others_write(make_cache, redis_url):
    """A walk through Redis is no snapshot, and says so; named keys and one's own memory are."""
    assert connected(make_cache(redis_url)).preview("t").estimate
    assert not make_cache(redis_url).preview(keys=["k"]).estimate
    assert not make_cache().preview("t").estimate


def test_without_redis_it_is_an_error(make_cache, own_redis_server):
    """A count that nobody can make is not zero."""
    cache = connected(make_cache(own_redis_server.url))
    fill(cache, 1)
    own_redis_server.kill()
    with pytest.raises(StoreUnavailable):
        cache.preview("t")
    with pytest.raises(StoreUnavailable):
        cache.preview(keys=["k0"])


def test_it_takes_the_time_of_administration(make_cache, redis_url):
    """A walk is not cut off by what one request may spend on Redis in all."""
    cache = connected(make_cache(redis_url))
    fill(cache, 3)
    spent = []
    run = cache.gateway.run

    def slow(commands, *rest):
        spent.append(current_budget())
        return run(commands, *rest)

    cache.gateway.run = slow
    cache.preview("t")
    assert all(budget is not None and budget.administrative for budget in spent)
    assert len({id(budget) for budget in spent}) > 1


APP = """
import os
from pathlib import Path
from flask import Flask
from cache_ext import CacheExt
app = Flask(__name__)
app.config.update(CACHE_EXT_REDIS_URL=os.environ["URL"], CACHE_EXT_NAMESPACE=os.environ["SPACE"])
if folder := os.environ.get("FOLDER"):
    app.config["CACHE_EXT_HOST_DIR"] = Path(folder)
CacheExt(app)
"""


@pytest.fixture
def flask_cache(tmp_path, namespace):
    """Run ``flask cache …`` of an application on some Redis, as an operator does."""
    (tmp_path / "app.py").write_text(APP)

    def run(url, *arguments, **options):
        command = [sys.executable, "-m", "flask", "--app", str(tmp_path / "app.py"), "cache", *arguments]
        environment = {**os.environ, "URL": url, "SPACE": namespace, "PYTHONPATH": str(Path.cwd())}
        kept = {"capture_output": True} | options
        return subprocess.run(command, check=False, env=environment, text=True, timeout=30, **kept)

    return run


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_command_counts_and_changes_nothing(make_cache, redis_url, flask_cache):
    """`invalidate --dry-run` tells what would be hit, in words or JSON, and leaves it."""
    cache = connected(make_cache(redis_url))
    fill(cache, 30)
    said = flask_cache(redis_url, "invalidate", "--tag", "t", "--dry-run")
    assert said.returncode == 0, said.stderr
    assert "would hit about 30 of 30 entries" in said.stdout
    assert said.stdout.count("\n  k") == 20
    assert said.stderr == ""  # no progress bar where there is no terminal
    told = flask_cache(redis_url, "invalidate", "--key", "k1", "--dry-run", "--json")
    assert Preview(**json.loads(told.stdout) | {"names": ("k1",)}).matched == 1
    assert cache.preview("t").matched == 30


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_command_shows_a_bar_on_a_terminal(make_cache, redis_url, flask_cache):
    """On a terminal the operator sees how far it is."""
    fill(connected(make_cache(redis_url)), 3)
    master, slave = pty.openpty()
    said = flask_cache(
        redis_url,
        "invalidate",
        "--tag",
        "t",
        "--dry-run",
        capture_output=False,
        stdout=subprocess.PIPE,
        stderr=slave,
    )
    os.close(slave)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert "would hit about 3 of 3" in said.stdout
    assert "counting" in shown
    assert "100%" in shown


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_command_invalidates_softly(make_cache, redis_url, flask_cache):
    """`--soft` leaves the values for who may serve stale ones."""
    cache = connected(make_cache(redis_url))
    policy = CachePolicy(ttl=60, stale_if_error=60)
    cache.set("k", "old", policy=policy, tags=["t"])
    assert flask_cache(redis_url, "invalidate", "--tag", "t", "--soft").returncode == 0
    until(lambda: cache.get("k") is MISS, "it is stale here", 1.0)

    def down():
        raise LookupError

    assert cache.fetch("k", down, policy=policy, tags=["t"]).value == "old"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--dry-run"], 2, "name a --tag or a --key"),
        (["--key", "k", "--soft"], 2, "--soft goes with --tag"),
        (["--tag", "", "--dry-run"], 2, "1 to 1024 bytes"),
        (["--tag", "t", "--dry-run"], 1, "Redis does not answer"),
        (["--tag", "t"], 1, "Redis does not answer: nothing was invalidated"),
    ],
)
@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_exit_code_says_what_went_wrong(own_redis_server, namespace, arguments, code, said):
    """1: Redis does not answer; 2: the command makes no sense."""
    own_redis_server.kill()
    app = Flask("operated")
    app.config.update(CACHE_EXT_REDIS_URL=own_redis_server.url, CACHE_EXT_NAMESPACE=namespace)
    cache = CacheExt().init_app(app)
    answer = app.test_cli_runner().invoke(args=["cache", "invalidate", *arguments])
    cache.close()
    assert answer.exit_code == code, answer.stderr
    assert said in answer.stderr


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_the_command_leaves_what_it_could_not_tell_to_the_host(
    make_cache, own_redis_server, flask_cache, tmp_path, monkeypatch
):
    """With a folder of the host the command's invalidation is queued there, and reaches Redis in the end."""
    server = own_redis_server
    make_cache(server.url).set("k", "old", ttl=60, tags=["t"])
    server.pause()
    monkeypatch.setenv("FOLDER", str(tmp_path / "host"))
    answer = flask_cache(server.url, "invalidate", "--tag", "t")
    assert answer.returncode == 1
    assert "what runs on this host will tell it" in answer.stderr
    server.resume()
    worker = make_cache(server.url, host_dir=tmp_path / "host")
    until(lambda: worker.get("k") is MISS, "a process of the host has told it")
    until(lambda: make_cache(server.url).get("k") is MISS, "Redis knows")
