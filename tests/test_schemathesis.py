"""Nothing that /openapi.json allows, and nothing near it, makes the service fail or answer otherwise.

Schemathesis makes the requests: for each operation what the document allows and what it forbids.
"""

from __future__ import annotations

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
EXAMPLES = "4"
PHASES = {"anybody": "examples,fuzzing", "admin": "examples,coverage"}
"""Random requests, and those at the borders of all that is described."""
SEED = "20261123"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
LEFT_OUT = ("retrainModel", "warmCache", "revokeKey", "getReadiness")
"""Two begin long work, one would end the key that asks, and one says 503 when that is so."""


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
def key(service: GunicornService) -> str:
    """An admin's key."""
    accounts = ("flask", "--app", "wsgi", "accounts")
    create = ("create", "root", "--tier", "admin", "--password-stdin")
    assert service.run(*accounts, *create, stdin=PASSWORD).returncode == 0
    scopes = [f"--scope={scope}" for scope in ("read", "keys", "admin", "events")]
    return service.run(*accounts, "keys", "create", "root", "--name=k", *scopes).stdout.strip()


@pytest.mark.parametrize("who", PHASES)
def test_no_request_makes_it_fail(service: GunicornService, key: str, who: str, tmp_path: Path) -> None:
    """No 5xx, no status, type or shape that is not in the document."""
    header = [f"--header=X-API-Key: {key}"] if who == "admin" else []
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{service.url}/openapi.json", f"--checks={CHECKS}", f"--max-examples={EXAMPLES}"),
            *(f"--seed={SEED}", f"--phases={PHASES[who]}", "--suppress-health-check=all"),
            *("--no-color", *header),
            *(f"--exclude-operation-id={name}" for name in LEFT_OUT),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
