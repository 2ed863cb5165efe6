"""A running service: no secret in what it writes, and an audit that a full disk does not get past."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from contextlib import closing
from typing import Any

import pytest

from cache_ext import open_cache
from shivx.embedded.paths import RuntimeDir
from shivx.identity import Tier
from tests.accounts_stage import Office
from tests.service import GUNICORN, GunicornService
from tests.small_disk import SmallDisk
from tests.waiting import until

pytestmark = pytest.mark.service

PASSWORD = "correct horse battery staple"
TOKEN = "token-of-the-scraper-0123456789"
SECRET = "secret-key-of-a-test-0123456789-0123456789"
PRICE = "/api/market/price/BTC-USDC"
MARKET = (
    PRICE,
    "/api/market/pairs",
    "/api/market/prices?pairs=BTC-USDC,ETH-USDC",
    "/api/market/orderbook/BTC-USDC",
    "/api/market/ohlcv/BTC-USDC",
    "/api/market/trades/BTC-USDC",
    "/api/market/tokens/BTC",
)
"""Each has some twenty numbers of its own, which take a page of the file that they are in."""
FLUSH = "/api/admin/cache/flush"
AUDIT = "/api/admin/audit"
ROUTES = (
    *(f"/api/market/{kind}/BTC-USDC" for kind in ("price", "orderbook", "trades", "ohlcv")),
    *("/api/market/pairs", "/api/market/prices?pairs=BTC-USDC", "/api/market/tokens/BTC"),
    *("/api/indicators", "/api/indicators/BTC-USDC", "/api/ml/models", "/api/ml/predict/BTC-USDC"),
    *("/api/auth/me", "/api/auth/keys", "/api/auth/sessions", "/api/admin/audit", "/docs", "/openapi.json"),
)
FULL_BYTES = 1
"""No file of a worker grows beyond it: what is there already is larger."""


def flask(service: GunicornService, *words: str, given: str = "") -> str:
    """Run ``flask`` beside the service and return what it printed."""
    done = subprocess.run(
        [GUNICORN.with_name("flask"), *words],
        input=given,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=service.instance_dir,
        env=service.environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def admin_key(service: GunicornService) -> str:
    """Make an admin and return an API key of his."""
    flask(service, "accounts", "create", "root", "--tier", "admin", "--password-stdin", given=PASSWORD)
    return flask(service, "accounts", "keys", "create", "root", "--scope", "admin", "--scope", "keys").strip()


def admin_key_at_once(service: GunicornService) -> str:
    """Do the same from this process, for tests that are not about commands: each of those takes a second."""
    cache = open_cache("memory://", secret_keys=(SECRET,))
    with closing(cache), Office(cache, f"sqlite:///{service.instance_dir}/instance/shivx.db") as office:
        made = office.accounts.create("root", Tier.ADMIN)
        return office.keys.create(made.id, "all", ["admin", "keys"]).text


def post(service: GunicornService, path: str, body: Any, **headers: str) -> Any:
    """Send JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return service.send("POST", path, data, {"Content-Type": "application/json", **named})


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_no_secret_is_in_any_log(worker_class: str) -> None:
    """Logins, keys, admin actions, refusals and errors, right and wrong; then all output is searched.

    What the embedded server has to say, too.
    """
    env = {"SHIVX_METRICS_TOKEN": TOKEN, "SHIVX_SECRET_KEYS": SECRET, "SHIVX_LOG_LEVEL": "debug"}
    options = ("--access-logfile", "-")
    with GunicornService(worker_class=worker_class, env=env, options=options) as service:
        key = admin_key(service)
        guessed = "shx_" + "g" * len(key.removeprefix("shx_"))
        made = post(service, "/api/auth/keys", {"name": "n", "scopes": ["admin"]}, X_API_Key=key)
        assert made.status == 201, made.body
        second = json.loads(made.body)["key"]
        for given in (key, second, guessed):
            for headers in ({"X-API-Key": given}, {"Authorization": f"Bearer {given}"}):
                service.get(f"{PRICE}?key={given}", headers=headers)
                service.get(f"/api/{given}", headers=headers)
                post(service, FLUSH, {"reason": "x"}, **headers)
                post(service, FLUSH, f'{{"reason": "{given}'.encode(), **headers)
                service.get(AUDIT, headers=headers)
        cookies = []
        for password in (PASSWORD, "a wrong " + PASSWORD):
            login = post(service, "/api/auth/login", {"username": "root", "password": password})
            cookie = (login.headers.get("Set-Cookie") or "session=none-as-yet").split(";")[0]
            cookies.append(cookie.partition("=")[2])
            service.get("/api/auth/me", headers={"Cookie": cookie})
            service.get(AUDIT, headers={"Cookie": cookie})
            post(service, "/api/auth/logout", {}, Cookie=cookie)
        service.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "::1"})
        shown = service.get(AUDIT, headers={"X-API-Key": key}).body.decode()
        flask(service, "accounts", "audit", "--verify")
        until(lambda: service.log.count(AUDIT) >= 5, "the last requests are logged")
        text = service.log
        embedded = RuntimeDir.of(service.instance_dir / "instance").log.read_text()
    assert len(cookies[0]) > len("none-as-yet")
    hidden = [each.removeprefix("shx_") for each in (key, second, guessed)]
    hidden += [PASSWORD, TOKEN, SECRET, *cookies]
    for where in (text, shown, embedded):
        assert where
        assert [secret for secret in hidden if secret in where] == []


def make_room(service: GunicornService) -> None:
    """Have the numbers counted until their files have just grown: what follows finds room in them.

    They lie in memory, which a full disk does not touch; the limit below would.
    """
    (folder,) = (service.instance_dir / "instance/run").glob("metrics-*")

    def size() -> int:
        return sum(path.stat().st_size for path in folder.glob("histogram_*.db"))

    before = size()
    for path in (f"{route}{query}" for query in ("?x=1", "") for route in ROUTES):
        if size() > before:
            return
        service.get(path)
    raise AssertionError("the numbers of so many routes fit into the first file")


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_on_a_full_disk_admins_do_nothing_and_the_market_goes_on(worker_class: str) -> None:
    """No file can grow: 503 for admins, prices for all, denials are denials; afterwards all is as before."""
    with GunicornService(worker_class=worker_class) as service:
        key = {"X_API_Key": admin_key_at_once(service)}
        assert post(service, FLUSH, {"reason": "before"}, **key).status == 200
        assert post(service, FLUSH, {"reason": "x"}).status == 401
        assert service.get(PRICE).status == 200
        make_room(service)
        (worker,) = service.worker_pids()
        unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE, (FULL_BYTES, resource.RLIM_INFINITY))
        try:
            refused = post(service, FLUSH, {"reason": "meanwhile"}, **key)
            assert (refused.status, json.loads(refused.body)["code"]) == (503, "unavailable")
            assert service.get(PRICE).status == 200
            assert post(service, FLUSH, {"reason": "x"}).status == 401
        finally:
            resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
        assert post(service, FLUSH, {"reason": "after"}, **key).status == 200

        def entries() -> list[dict[str, Any]]:
            return json.loads(service.get(AUDIT, headers={"X-API-Key": key["X_API_Key"]}).body)["entries"]

        def denied() -> int:
            return sum(entry["count"] for entry in entries() if entry["outcome"] == "denied")

        until(lambda: denied() == 2, "the denial of meanwhile is written")
        targets = [entry["target"] for entry in entries() if entry["action"] == "cache.flush"]
        assert targets == ["all: after"] * 2 + ["all: before"] * 2
        flask(service, "accounts", "audit", "--verify")


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_not_a_byte_left_on_the_disk_kills_no_worker(small_disk: SmallDisk, worker_class: str) -> None:
    """Admins get 503, all others are served, by a new worker as well; its numbers too find a place."""
    with GunicornService(worker_class=worker_class, folder=small_disk.folder) as service:
        key = {"X_API_Key": admin_key_at_once(service)}
        assert post(service, FLUSH, {"reason": "before"}, **key).status == 200
        first = service.worker_pids()
        small_disk.fill()
        refused = post(service, FLUSH, {"reason": "meanwhile"}, **key)
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "unavailable")
        assert {service.get(path).status for path in MARKET} == {200}
        assert service.worker_pids() == first
        os.kill(first[0], signal.SIGKILL)
        until(lambda: service.worker_pids() not in ([], first), "there is a new worker")
        assert {service.get(path).status for path in MARKET} == {200}
        small_disk.empty()
        assert post(service, FLUSH, {"reason": "after"}, **key).status == 200


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_one_request_has_one_id_wherever_it_is_spoken_of(worker_class: str) -> None:
    """In the answer, the server's line, the lines of what works for it in other threads, and the audit."""
    with GunicornService(worker_class=worker_class, options=("--access-logfile", "-")) as service:
        key = {"X_API_Key": admin_key_at_once(service)}
        assert post(service, FLUSH, {"reason": "so that there is an anchor"}, **key).status == 200
        (service.instance_dir / "instance" / "audit_anchor").write_text("{}")
        answer = post(service, FLUSH, {"reason": "x"}, **key, X_Request_ID="mine")
        assert (answer.status, answer.headers["X-Request-ID"]) == (200, "mine")
        until(lambda: service.log.count('"mine"') >= 2, "the server has logged it too")
        lines = [json.loads(line) for line in service.log.splitlines() if '"mine"' in line]
        assert {line["logger"] for line in lines} == {"gunicorn.access", "shivx.audit.ledger"}
        assert {line["request_id"] for line in lines} == {"mine"}
        audit = json.loads(service.get(AUDIT, headers={"X-API-Key": key["X_API_Key"]}).body)
        assert [each["outcome"] for each in audit["entries"] if each["request_id"] == "mine"] == [
            "done",
            "intended",
        ]


def test_denials_of_all_workers_are_in_one_chain() -> None:
    """Bad keys are refused at the gate; each is counted, from whichever worker, and the chain is whole."""
    with GunicornService(workers=2) as service:
        key = {"X-API-Key": admin_key_at_once(service)}
        for number in range(20):
            assert service.get(PRICE, headers={"X-API-Key": f"shx_{number:043d}"}).status == 401

        def denied() -> int:
            entries = json.loads(service.get(AUDIT, headers=key).body)["entries"]
            return sum(entry["count"] for entry in entries if entry["outcome"] == "denied")

        until(lambda: denied() == 20, "all are counted")
        assert "whole" in flask(service, "accounts", "audit", "--verify")
