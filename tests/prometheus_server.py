"""A real Prometheus for tests, with the configuration of deploy/, in a hurry."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import free_port, spawn, terminate
from tests.promtool import DEPLOYED, program_of_prometheus
from tests.service import DIRECT
from tests.waiting import until

START_SECONDS = 30.0
ANSWER_SECONDS = 10.0
HURRY = "1s"  # instead of 15 s between scrapes, and of the minutes that alerts wait


class Prometheus:
    """The HTTP API of one that runs."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what it answers; an error it says is raised."""
        with DIRECT.open(
            f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=ANSWER_SECONDS
        ) as it:
            return json.loads(it.read())["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the samples that an expression has now. Raises HTTPError: it is none."""
        found: list[Any] = self.ask("/api/v1/query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self.ask("/api/v1/alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        try:
            with DIRECT.open(f"{self._url}/-/ready", timeout=ANSWER_SECONDS) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus_at(target: str) -> Iterator[Prometheus]:
    """Have one scrape *target*, HOST:PORT, while the block lasts.

    Raises:
        ServerAbsent: it is not installed.
    """
    program, port = program_of_prometheus("prometheus"), free_port()
    folder = Path(tempfile.mkdtemp(prefix="shivx-prometheus-", dir="/tmp"))
    process: subprocess.Popen[bytes] | None = None
    try:
        for file in DEPLOYED.glob("*.yml"):
            (folder / file.name).write_text(_hurried(file.read_text(), target))
        places = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command = [program, *places, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        process = spawn(command, folder / "log", on_parent_death=signal.SIGTERM)
        found = Prometheus(port)
        until(lambda: found.ready or process.poll() is not None, "Prometheus answers", START_SECONDS)
        if process.poll() is not None:
            raise RuntimeError(f"Prometheus did not start:\n{(folder / 'log').read_text()}")
        yield found
    finally:
        if process is not None:
            terminate(process)
        shutil.rmtree(folder)


def _hurried(text: str, target: str) -> str:
    """Return a file of deploy/ with nothing changed but how long all takes and whom it scrapes."""
    text = re.sub(
        r"^(\s*(?:scrape_interval|evaluation_interval|for)): \w+$", rf"\1: {HURRY}", text, flags=re.M
    )
    return text.replace('"127.0.0.1:8000"', f'"{target}"')
