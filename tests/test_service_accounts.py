"""Accounts in the running service: commands beside it, several workers, a database of either kind."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from shivx.accounts.key_text import make_key
from tests.accounts_stage import PASSWORD
from tests.service import GUNICORN, GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

PATH = "/api/auth/keys"
BOUND = 1.0  # seconds
ANSWERS = 20  # in a row, each on a connection of its own, so that each of two workers gives some


def command(service: GunicornService, *words: str, stdin: str = "") -> str:
    """Run ``flask accounts WORDS`` beside the service; return what it answers."""
    done = subprocess.run(
        [GUNICORN.with_name("flask"), "--app", "wsgi", "accounts", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=service.instance_dir,
        env=service.environment,
    )
    assert done.returncode == 0, done.stderr
    assert "Redis" not in done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_a_key_is_good_in_all_workers_until_it_is_revoked(worker_class: str) -> None:
    """Made and revoked by commands, processes of their own; refused everywhere within the bound."""
    env = {"SHIVX_LIMIT_ANONYMOUS": "10000", "SHIVX_LIMIT_PREMIUM": "10000"}
    with GunicornService(workers=2, worker_class=worker_class, env=env) as service:
        command(service, "create", "alice", "--tier", "premium", "--password-stdin", stdin=PASSWORD)
        key = command(service, "keys", "create", "alice", "--scope", "keys")

        def statuses(count: int = ANSWERS) -> set[int]:
            return {service.get(PATH, {"X-API-Key": key}).status for _ in range(count)}

        assert statuses() == {200}
        (shown,) = json.loads(service.get(PATH, {"X-API-Key": key}).body)["keys"]
        command(service, "keys", "revoke", str(shown["id"]))
        began = time.monotonic()
        until(lambda: statuses(1) == {401}, "the key is refused", BOUND)
        until(lambda: time.monotonic() - began > BOUND, "the bound is over", 2 * BOUND)
        assert statuses() == {401}
        assert key not in service.log
        assert PASSWORD not in service.log


def test_postgresql_out_of_date_ends_the_start(postgres_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By one line that says what to do; after that it starts."""
    env = {"SHIVX_DATABASE_URL": postgres_url}
    with pytest.raises(RuntimeError, match=r"exit status [1-9]"), GunicornService(env=env):
        pytest.fail("it started")
    log = capsys.readouterr().out
    assert "flask db upgrade" in log
    assert "Traceback" not in log
    with GunicornService() as service:
        upgraded = service.run("flask", "--app", "wsgi", "db", "upgrade", env=env)
        assert upgraded.returncode == 0, upgraded.stderr
    with GunicornService(env=env) as service:
        command(service, "create", "bot", "--tier", "service")
        assert "bot" in command(service, "list")


def test_a_database_that_is_away_stops_nobody_who_needs_none(postgres_url: str) -> None:
    """The market is served; who comes with a key is told when to come again."""
    away = postgres_url.replace("?host=/tmp/", "?host=/tmp/nowhere-")
    with GunicornService(env={"SHIVX_DATABASE_URL": away}) as service:
        assert service.get("/api/market/price/SOL-USDC").status == 200
        answer = service.get(PATH, {"X-API-Key": make_key()})
        assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
        assert service.get(PATH, {"X-API-Key": "shx_" + "0" * 49}).status == 401  # that is no key
        assert service.get(PATH).status == 401
