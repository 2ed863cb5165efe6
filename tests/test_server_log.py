"""What a running service writes: JSON, with ids, and no secret."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.service import GunicornService
from tests.waiting import until

pytestmark = pytest.mark.service

TOKEN = "token-of-the-scraper-0123456789"
SECRET = "secret-key-of-a-test-0123456789-0123456789"
KEY = "shx_" + "k" * 43


def lines_of(service: GunicornService) -> list[dict[str, object]]:
    """Return the log's lines; what is no JSON must be the greeting at the start."""
    found = []
    for line in service.log.splitlines():
        if line.startswith("{"):
            found.append(json.loads(line))
        else:
            assert not line or line.startswith(("ShivX serves", "  ")), line
    return found


def raw(service: GunicornService, request: bytes) -> bytes:
    """Send bytes that no client library would, and return the answer."""
    url = urlsplit(service.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_all_that_a_service_writes_is_json_with_one_id_for_a_request(worker_class: str) -> None:
    """gunicorn's lines on its start, a request's line, and that of a broken request; no secret in any."""
    env = {"SHIVX_METRICS_TOKEN": TOKEN, "SHIVX_SECRET_KEYS": SECRET}
    options = ("--access-logfile", "-")
    with GunicornService(worker_class=worker_class, env=env, options=options) as service:
        secret = {"X-API-Key": KEY, "Cookie": "session=cookie-of-somebody", "X-Request-ID": "mine"}
        service.get("/api/market/price/BTC-USDC?api_key=" + KEY, headers=secret)
        service.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "::1"})
        raw(service, b"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key " + KEY.encode() + b"\r\n\r\n")
        raw(service, b"GET /?key=" + KEY.encode() + b" HTTP/9\r\n\r\n")
        until(lambda: service.log.count("Invalid") >= 1 and '"mine"' in service.log, "both are logged")
        lines, text = lines_of(service), service.log
    assert any("Booting worker" in str(line["message"]) for line in lines)
    (asked,) = [line for line in lines if line.get("request_id") == "mine"]
    assert (asked["path"], asked["method"]) == ("/api/market/price/BTC-USDC", "GET")
    assert asked["logger"] == "gunicorn.access"
    for secret_ in (TOKEN, SECRET, "k" * 43, "cookie-of-somebody"):
        assert secret_ not in text


def test_text_is_for_people() -> None:
    """With SHIVX_LOG_FORMAT=text no line is JSON."""
    with GunicornService(env={"SHIVX_LOG_FORMAT": "text"}, options=("--access-logfile", "-")) as service:
        service.get("/healthz", headers={"X-Request-ID": "mine"})
        until(lambda: "[mine]" in service.log, "the request is logged")
        assert not [line for line in service.log.splitlines() if line.startswith("{")]
