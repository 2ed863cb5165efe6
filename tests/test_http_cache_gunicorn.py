"""Two real gunicorn workers, each with an `HttpCache`, and one Redis: they answer as one cache."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.caches import all_at_once, begin
from tests.processes import free_port
from tests.servers import RunningServer, SharedServers
from tests.service import ROOT, Answer, GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

CROWD = 16
"""Requests at once, so that each of two workers has some."""
PATIENCE = 30.0
SMUGGLED = [
    "X-Forwarded-Host : evil",
    "X-Plain: a\r\n X-Forwarded-Host: evil",
    "X-Plain: a\0b",
    "X-Pl\0ain: a",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 0\r\nContent-Length: 9",
    "Content-Length: +0",
    "Transfer-Encoding: xchunked",
]
GUNICORN_CONF = """
import os
bind, workers, worker_class = os.environ["SHIVX_BIND"], 2, "gevent"
control_socket_disable = True
"""


@pytest.fixture(scope="module")
def stage(
    shared_servers: SharedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[GunicornService, str]]:
    """The application of `http_member`, and the address of its Redis."""
    root: Path = tmp_path_factory.mktemp("http")
    (root / "wsgi.py").write_text("from tests.http_member import make_app\n\napp = make_app()\n")
    (root / "gunicorn.conf.py").write_text(GUNICORN_CONF)
    server = RunningServer("valkey")
    env = {"PYTHONPATH": f"{root}:{ROOT}", "TEST_REDIS": server.url}
    try:
        with GunicornService(root=root, bind=f"127.0.0.1:{free_port()}", workers=2, env=env) as service:
            others = [server, service]
            shared_servers.others.extend(others)
            yield service, server.url
            for each in others:
                shared_servers.others.remove(each)
    finally:
        server.close()


@pytest.fixture
def service(stage: tuple[GunicornService, str]) -> GunicornService:
    """Two workers."""
    return stage[0]


@pytest.fixture
def desk(stage: tuple[GunicornService, str]) -> Iterator[redis.Redis]:
    """What the application goes by."""
    with redis.Redis.from_url(stage[1].replace("/0", "/1"), decode_responses=True) as desk:
        desk.flushdb()
        yield desk


def crowd(service: GunicornService, path: str, headers: Mapping[str, str] | None = None) -> list[Answer]:
    """Send the same GET many times at once."""
    return all_at_once(CROWD, lambda _: service.get(path, headers))


def workers(answers: list[Answer]) -> int:
    """Return how many workers answered."""
    return len({answer.headers["X-Worker"] for answer in answers})


def from_both(service: GunicornService, path: str, headers: Mapping[str, str] | None = None) -> list[Answer]:
    """Return answers to the same GET, some of each worker."""
    answers: list[Answer] = []

    def asked() -> bool:
        answers.extend(crowd(service, path, headers))
        return workers(answers) == 2

    until(asked, "both workers answered", PATIENCE)
    return answers


def let_go(desk: redis.Redis) -> None:
    """Let the run that is held, and all that follow, go on."""
    desk.delete("hold")
    desk.rpush("release", 1)


def test_a_crowd_of_two_workers_is_one_run(service: GunicornService, desk: redis.Redis) -> None:
    """RFC 9211, 2.7: all who ask meanwhile, whichever worker they reach, wait for one run."""
    for path in (f"/crowd{number}" for number in range(1_000)):
        desk.set("hold", 1)
        asking = [begin(lambda path=path: service.get(path)) for _ in range(CROWD)]
        until(lambda path=path: desk.get(f"came:{path}") == str(CROWD), "all are inside", PATIENCE)
        until(lambda path=path: desk.get(f"runs:{path}"), "the application runs", PATIENCE)
        let_go(desk)
        answers = [each.result(PATIENCE) for each in asking]
        assert {answer.body for answer in answers} == {b"run 1 for nobody"}
        assert desk.get(f"runs:{path}") == "1"
        desk.delete("release")
        if workers(answers) == 2:
            return


def test_an_unsafe_method_at_one_worker_ends_what_both_serve(
    service: GunicornService, desk: redis.Redis
) -> None:
    """RFC 9111, 4.4: a POST that succeeds; one that fails ends nothing."""
    assert {answer.body for answer in from_both(service, "/changed")} == {b"run 1 for nobody"}
    desk.set("status", "500 Oh")
    assert service.send("POST", "/changed", b"x").status == 500
    assert {answer.body for answer in from_both(service, "/changed")} == {b"run 1 for nobody"}
    desk.delete("status")
    assert service.send("POST", "/changed", b"x").status == 200
    until(
        lambda: b"run 1 for nobody" not in {answer.body for answer in from_both(service, "/changed")},
        "no worker serves what was",
        PATIENCE,
    )


def test_one_refresh_for_both_workers(service: GunicornService, desk: redis.Redis) -> None:
    """RFC 5861, 3: while it lasts, both serve what is stale, and nobody waits."""
    path = "/refreshed"
    desk.set(f"says:{path}", "max-age=1, stale-while-revalidate=600")
    service.get(path)
    desk.set("hold", 1)
    until(
        lambda: {answer.headers["X-Cache"] for answer in from_both(service, path)} == {"STALE"},
        "both serve what is stale",
        PATIENCE,
    )
    until(lambda: desk.get(f"runs:{path}") == "2", "it is made anew", PATIENCE)
    assert {answer.body for answer in from_both(service, path)} == {b"run 1 for nobody"}
    assert desk.get(f"runs:{path}") == "2"
    desk.set(f"says:{path}", "max-age=600")
    let_go(desk)
    until(
        lambda: {answer.body for answer in crowd(service, path)} == {b"run 2 for nobody"},
        "both serve the new one",
        PATIENCE,
    )


def test_both_workers_serve_what_is_stale_instead_of_an_error(
    service: GunicornService, desk: redis.Redis
) -> None:
    """RFC 5861, 4: what one worker stored the other has too when the application fails."""
    path = "/failing"
    desk.set(f"says:{path}", "max-age=1, stale-if-error=600")
    service.get(path)
    desk.set("status", "503 Away")

    def spared() -> bool:
        answers = from_both(service, path)
        assert {(answer.status, answer.body) for answer in answers} == {(200, b"run 1 for nobody")}
        return {answer.headers["X-Cache"] for answer in answers} == {"STALE"}

    until(spared, "both serve what is stale", PATIENCE)


@pytest.mark.parametrize("name", ["Authorization", "Cookie"])
def test_who_says_who_he_is_shares_nothing_at_either_worker(
    service: GunicornService, desk: redis.Redis, name: str
) -> None:
    """RFC 9111, 3.5: his answer is stored nowhere, and what is stored for all is not given to him."""
    path = f"/own-{name.lower()}"
    assert {answer.body for answer in from_both(service, path)} == {b"run 1 for nobody"}
    for who in ("a=1", "b=2"):
        answers = from_both(service, path, {name: who})
        assert all(answer.body.endswith(f"for {who}".encode()) for answer in answers)
        assert len({answer.body for answer in answers}) == len(answers)
    assert {answer.body for answer in from_both(service, path)} == {b"run 1 for nobody"}


def test_what_is_smuggled_past_the_fields_is_never_stored(
    service: GunicornService, desk: redis.Redis
) -> None:
    """Requests that two servers could read in two ways are refused: others get what they would have got."""
    address = urlsplit(service.url)
    for number, lines in enumerate(SMUGGLED):
        path = f"/smuggled{number}"
        head = f"GET {path} HTTP/1.1\r\nHost: {address.netloc}\r\n{lines}\r\nAuthorization: evil\r\n\r\n"
        with socket.create_connection((address.hostname, address.port), PATIENCE) as line:
            line.sendall(head.encode())
            status = line.makefile("rb").readline().split()[1]
        assert status in (b"400", b"501"), lines
        assert desk.get(f"runs:{path}") is None, lines
        assert {answer.body for answer in crowd(service, path)} == {b"run 1 for nobody"}


def test_each_worker_cuts_ranges_and_knows_validators(service: GunicornService, desk: redis.Redis) -> None:
    """RFC 9110, 13 and 14: parts, 304 and HEAD of what either worker stored come from both."""
    whole = service.get("/parts")
    etag = whole.headers["ETag"]
    for answer in from_both(service, "/parts", {"Range": "bytes=4-4"}):
        assert (answer.status, answer.body) == (206, b"1")
        assert answer.headers["Content-Range"] == f"bytes 4-4/{len(whole.body)}"
    for answer in from_both(service, "/parts", {"If-None-Match": etag}):
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", etag)
    for _ in range(4):
        head = service.send("HEAD", "/parts")
        assert (head.body, head.headers["ETag"]) == (b"", etag)
        assert head.headers["Content-Length"] == str(len(whole.body))
    assert desk.get("runs:/parts") == "1"
