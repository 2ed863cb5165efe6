"""Log lines: one JSON object each, with the request's id, and no secret in any."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading

import pytest
from pydantic import SecretStr

from shivx.config import Settings
from shivx.logs import FIELDS, JsonFormatter, TextFormatter, formatter_of
from shivx.redaction import HIDDEN, Redactor, secrets_of
from shivx.request_ids import current_request_id, following
from tests.service import ROOT

KEY = "shx_" + "k" * 43
SECRETS = {
    "secret_keys": ("s" * 40, "t" * 40),
    "redis_url": "rediss://user:hunter%402222@redis.example:6380/0",
    "redis_password": "another-password",
    "database_url": "postgresql://shivx:database-password@db.example/shivx",
    "metrics_token": "token-of-the-scraper",
    "cdn_purge_token": "token-of-the-cdn",
}


def line_of(message: object, *arguments: object, error: bool = False, **extra: object) -> dict[str, object]:
    """Return what the formatter makes of a record."""
    info = sys.exc_info() if error else None
    record = logging.LogRecord("shivx.x", logging.WARNING, "x.py", 1, str(message), arguments, info)
    vars(record).update(extra)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_line_is_one_json_object() -> None:
    """Whatever the message holds."""
    line = line_of('quotes " and\nline breaks \u2028 %s', "ä")
    assert line["message"] == 'quotes " and\nline breaks \u2028 ä'
    assert (line["level"], line["logger"]) == ("warning", "shivx.x")
    assert "request_id" not in line


def test_a_traceback_is_a_field() -> None:
    """No line of its own."""
    try:
        raise ValueError("broken")
    except ValueError:
        line = line_of("it failed", error=True)
    assert "ValueError: broken" in str(line["traceback"])


def test_lines_of_a_request_carry_its_id() -> None:
    """Nested calls, text format too; nothing after it."""
    with following("abc"):
        assert line_of("x")["request_id"] == "abc"
        record = logging.LogRecord("shivx", logging.INFO, "x.py", 1, "hello", (), None)
        assert TextFormatter().format(record).endswith("hello [abc]")
    assert "request_id" not in line_of("x")


def test_threads_do_not_speak_for_each_others_requests() -> None:
    """Each thread has its own."""
    seen: list[str | None] = []
    with following("abc"):
        thread = threading.Thread(target=lambda: seen.append(current_request_id()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_a_record_brings_fields_of_its_own() -> None:
    """As the server's line for a request does."""
    assert line_of("request", **{FIELDS: {"status": 200, "request_id": "x"}})["status"] == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"key {KEY} is bad", f"key shx_{HIDDEN} is bad"),
        ("postgresql://me:word@db/x failed", f"postgresql://{HIDDEN}@db/x failed"),
        ("redis://:p@ss:w@rd@host:1", f"redis://{HIDDEN}@host:1"),
        (f"Authorization: Bearer {'x' * 20}", f"Authorization{HIDDEN}"),
        (f"got bearer {'x' * 20} here", f"got bearer {HIDDEN} here"),
        ("Invalid HTTP Header: 'Cookie session=abc'", f"Invalid HTTP Header: 'Cookie{HIDDEN}"),
        ("bad header X-API-Key: whatever it is\nnext line", f"bad header X-API-Key{HIDDEN}\nnext line"),
        ("http://example.com:80/path", "http://example.com:80/path"),
        ("see https://a.example/x and b@c", "see https://a.example/x and b@c"),
        ("the price of BTC-USDC", "the price of BTC-USDC"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text: str, shown: str) -> None:
    """And nothing else."""
    assert Redactor()(text) == shown


def test_each_secret_setting_is_hidden() -> None:
    """As it was given, and as it is used."""
    settings = Settings(**SECRETS)
    hide = Redactor(secrets_of(settings))
    for secret in (*SECRETS["secret_keys"], "hunter%402222", "hunter@2222", "another-password"):
        assert secret not in hide(f"a{secret}b")
    for secret in ("database-password", "token-of-the-scraper", "token-of-the-cdn"):
        assert hide(f"<{secret}>") == f"<{HIDDEN}>"
    assert hide("redis.example shivx") == "redis.example shivx"
    assert sum(isinstance(value, SecretStr) for value in dict(settings).values()) >= 6


@pytest.mark.parametrize("style", ["json", "text"])
def test_messages_and_tracebacks_are_redacted(style: str) -> None:
    """In either style, whoever logs."""
    try:
        raise ValueError(KEY)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "no %s", (KEY,), sys.exc_info())
    text = formatter_of(style, Redactor()).format(record)  # type: ignore[arg-type]
    assert "kkk" not in text
    assert text.count(f"shx_{HIDDEN}") == 2


CROWDED = """
from gevent import monkey
monkey.patch_all()
import logging, os, sys
import gevent
from shivx.accounts.offload import off_hub
from shivx.logs import set_up_logs
set_up_logs("json", "info")
log = logging.getLogger("shivx.crowd")
def write():
    for number in range(2000):
        log.info("line %d", number)
def write_in_turn():
    for number in range(2000):
        log.info("line %d", number)
        gevent.idle()
crowd = [gevent.spawn(off_hub, write) for _ in range(4)] + [gevent.spawn(write_in_turn) for _ in range(2)]
print(len(gevent.joinall(crowd, timeout=30)))
sys.stdout.flush()
os._exit(0)
"""


def test_greenlets_and_native_threads_write_side_by_side() -> None:
    """Nobody waits for ever for a handler's lock, and no line is torn."""
    done = subprocess.run(
        [sys.executable, "-c", CROWDED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "6\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 6 * 2000
    assert {json.loads(line)["logger"] for line in lines} == {"shivx.crowd"}
