"""Sessions under real gunicorn: several workers, one truth about who is logged in."""

from __future__ import annotations

import json
import subprocess
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest

from tests.servers import RunningServer
from tests.service import GUNICORN, Answer, GunicornService
from tests.session_stage import session_keys
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.parametrize("server_kind", ["valkey"])]

PASSWORD = "correct horse battery"
ME = "/api/auth/me"
SESSIONS = "/api/auth/sessions"
LOGIN = {"Content-Type": "application/json", "User-Agent": "a browser"}
OFTEN = 12  # connections, so that each of two workers gets some


def service_on(server: RunningServer, worker_class: str, folder: Path) -> GunicornService:
    """Return the service with two workers on *server*."""
    env = {"SHIVX_REDIS_URL": server.url, "SHIVX_SECRET_KEYS": "a-key-for-nothing-but-this-test-long-enough"}
    return GunicornService(workers=2, worker_class=worker_class, env=env, folder=folder)


def make_account(service: GunicornService) -> None:
    """Make alice, by the command line."""
    command = [
        GUNICORN.with_name("flask"),
        "accounts",
        "create",
        "alice",
        "--tier",
        "admin",
        "--password-stdin",
    ]
    surroundings: Any = {"cwd": service.instance_dir, "env": service.environment | {"FLASK_APP": "wsgi:app"}}
    done = subprocess.run(
        command, input=PASSWORD + "\n", text=True, capture_output=True, check=False, **surroundings
    )
    assert done.returncode == 0, done.stderr


def log_in(service: GunicornService, **headers: str) -> Answer:
    """Send name and password."""
    body = json.dumps({"username": "alice", "password": PASSWORD}).encode()
    return service.send("POST", "/api/auth/login", body, {**LOGIN, **headers})


def cookie_in(answer: Answer) -> Any:
    """Return the cookie that an answer sets."""
    (found,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    return found


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_all_workers_know_who_is_logged_in_and_who_no_more(
    own_redis_server: RunningServer, worker_class: str, tmp_path: Path
) -> None:
    """A session of one worker is good in the others, until it is ended: then in none."""
    with service_on(own_redis_server, worker_class, tmp_path) as service:
        make_account(service)
        cookies = [cookie_in(log_in(service)) for _ in range(2)]
        assert {cookie.key for cookie in cookies} == {"session"}
        mine, other = ({"Cookie": f"{cookie.key}={cookie.value}"} for cookie in cookies)
        for _ in range(OFTEN):
            assert service.get(ME, mine).status == service.get(ME, other).status == 200
        cross = {**mine, "Sec-Fetch-Site": "cross-site"}
        assert service.send("DELETE", SESSIONS, headers=cross).status == 403
        ended = service.send("DELETE", SESSIONS, headers=mine)
        assert ended.status == 204
        renewed = cookie_in(ended)
        mine = {"Cookie": f"{renewed.key}={renewed.value}"}
        until(lambda: [service.get(ME, mine).status for _ in range(OFTEN)] == [200] * OFTEN, "all know")
        for _ in range(OFTEN):
            assert service.get(ME, other).status == 401
        assert len(json.loads(service.get(SESSIONS, mine).body)["sessions"]) == 1
        assert service.send("POST", "/api/auth/logout", headers=mine).status == 204
        for _ in range(OFTEN):
            assert service.get(ME, mine).status == 401
        assert session_keys(own_redis_server.url) == []
        assert all(cookie.value not in service.log for cookie in cookies)


def test_login_without_redis_is_told_to_come_again(own_redis_server: RunningServer, tmp_path: Path) -> None:
    """503 and Retry-After; sessions are nobody's, the market goes on; with Redis back, so is the session."""
    with service_on(own_redis_server, "gevent", tmp_path) as service:
        make_account(service)
        cookie = cookie_in(log_in(service))
        mine = {"Cookie": f"{cookie.key}={cookie.value}"}
        own_redis_server.pause()
        for _ in range(OFTEN):
            answer = log_in(service)
            assert (answer.status, json.loads(answer.body)["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
            assert service.get(ME, mine).status == 401
            assert service.get("/api/market/pairs", mine).status == 200
        own_redis_server.resume()
        until(lambda: [service.get(ME, mine).status for _ in range(OFTEN)] == [200] * OFTEN, "it is back")
