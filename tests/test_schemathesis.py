"""Nothing that /openapi.json allows, and nothing near it, makes the service fail or answer otherwise.

Schemathesis makes the requests: for each operation what the document allows and what it forbids.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts_stage import PASSWORD
from tests.model_stage import activate
from tests.service import GunicornService

pytestmark = pytest.mark.service

SECONDS = 300.0
EXAMPLES = "25"
PHASES = "examples,coverage,fuzzing"
"""What the document shows, requests at the borders of all that it describes, and random ones."""
SEED = "20261123"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
BEGIN_WORK = ("retrainModel", "warmCache")
"""A process each time; what they answer is seen in tests of their own."""
LEFT_OUT = {
    "anybody": (),
    "key": (*BEGIN_WORK, "revokeKey"),  # it would end the key that asks
    "session": (*BEGIN_WORK, "logout", "revokeOtherSessions"),  # as these the session
}
"""By who asks."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornService]:
    """A service with models, and limits that are out of the way."""
    folder = tmp_path_factory.mktemp("models")
    for name, probabilities in (("direction", (0.2, 0.3, 0.5)), ("volatility", (0.5, 0.3, 0.2))):
        activate(folder, name, probabilities)
    env = {"SHIVX_MODEL_DIR": str(folder), "SHIVX_LIMIT_ADMIN": "1000000", "SHIVX_CACHE_OP_TIMEOUT": "1"}
    with GunicornService(workers=1, env=env) as started:
        yield started


@pytest.fixture(scope="module")
def admin(service: GunicornService) -> dict[str, str]:
    """The headers that an admin asks with, by who he is to the service.

    All sessions begin here: what follows uses up the attempts to log in of this address.
    """
    accounts = ("flask", "--app", "wsgi", "accounts")
    create = ("create", "root", "--tier", "admin", "--password-stdin")
    assert service.run(*accounts, *create, stdin=PASSWORD).returncode == 0
    scopes = [f"--scope={scope}" for scope in ("read", "keys", "admin", "events")]
    key = service.run(*accounts, "keys", "create", "root", "--name=k", *scopes).stdout.strip()
    sessions = {name: f"Cookie: {log_in(service)}" for name in ("session", "mine", "other")}
    return {"key": f"X-API-Key: {key}", **sessions}


def log_in(service: GunicornService) -> str:
    """Return the cookie of a session of the admin."""
    body = json.dumps({"username": "root", "password": PASSWORD}).encode()
    answer = service.send("POST", "/api/auth/login", body, {"Content-Type": "application/json"})
    assert answer.status == 200
    return str(answer.headers["Set-Cookie"]).partition(";")[0]


def run(service: GunicornService, folder: Path, *options: str) -> None:
    """Have Schemathesis make requests; nothing that comes may be a 5xx, or not in the document."""
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{service.url}/openapi.json", f"--checks={CHECKS}", f"--max-examples={EXAMPLES}"),
            *(f"--seed={SEED}", f"--phases={PHASES}", "--suppress-health-check=all"),
            *("--no-color", *options),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=folder,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]


@pytest.mark.parametrize("who", LEFT_OUT)
def test_no_request_makes_it_fail(
    service: GunicornService, admin: dict[str, str], who: str, tmp_path: Path
) -> None:
    """No 5xx, no status, type or shape that is not in the document."""
    header = [f"--header={admin[who]}"] if who in admin else []
    run(service, tmp_path, *header, *(f"--exclude-operation-id={name}" for name in LEFT_OUT[who]))


def test_nor_does_one_for_what_is_there(
    service: GunicornService, admin: dict[str, str], tmp_path: Path
) -> None:
    """A job that runs, and a session; both may be ended, and are gone then."""
    mine, other = (dict([admin[name].split(": ", 1)]) for name in ("mine", "other"))
    begun = service.send("POST", "/api/admin/cache/warm", b"{}", mine | {"Content-Type": "application/json"})
    assert begun.status == 202
    sessions = json.loads(service.get("/api/auth/sessions", other).body)["sessions"]
    (session,) = [each["id"] for each in sessions if each["current"]]
    ids = {"path.job": json.loads(begun.body)["id"], "path.session": session}
    lines = (f'"{place}" = "{value}"' for place, value in ids.items())
    (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines]))
    about = ("getJob", "cancelJob", "revokeSession")
    run(
        service,
        tmp_path,
        f"--header={admin['mine']}",
        *(f"--include-operation-id={each}" for each in about),
    )
    ended = json.loads(service.get(begun.headers["Location"], mine).body)
    assert ended["status"] in ("cancelled", "succeeded")
    assert service.get("/api/auth/sessions", other).status == 401
