"""The embedded Valkey of a running service, seen from outside: its processes, its run, its end."""

from __future__ import annotations

from pathlib import Path

import redis

from shivx.embedded.paths import RuntimeDir
from tests.embedded_stage import processes_at
from tests.service import GunicornService
from tests.waiting import until

GONE_SECONDS = 30.0  # the keeper stays 2 s; a busy machine takes longer for everything


def runtime_of(service: GunicornService) -> RuntimeDir:
    """Return where the service's embedded Valkey lives."""
    return RuntimeDir.of(service.instance_dir / "instance")


def processes_of(service: GunicornService) -> dict[str, int]:
    """Return the numbers of ``keeper`` and ``server``, as far as they run."""
    found = {}
    for pid in processes_at(runtime_of(service).path):
        command = Path(f"/proc/{pid}/cmdline").read_text()
        found["keeper" if "shivx.embedded.keeper" in command else "server"] = pid
    return found


def run_id(service: GunicornService) -> str:
    """Return the name that the server chose for this run of it."""
    with redis.Redis(unix_socket_path=str(runtime_of(service).server_socket)) as client:
        return client.info("server")["run_id"]


def until_embedded_gone(service: GunicornService) -> None:
    """Wait until keeper and server have ended and their folder is removed."""
    place = runtime_of(service).path
    until(
        lambda: not processes_at(place) and not place.exists(),
        "keeper, server, folder are gone",
        GONE_SECONDS,
    )
