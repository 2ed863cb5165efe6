"""Several real processes on one real server: never more than the limit, by the server's own clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.limits_stage import Log
from tests.service import ROOT

LIMIT = 40
WINDOW = 1.2
SLICE_MS = 20
SECONDS = 4.0
PATIENCE = 60.0


@contextmanager
def member(url: str, namespace: str, kind: str) -> Iterator[subprocess.Popen[str]]:
    """Start a worker of eight threads or greenlets; it is ready."""
    arguments = [url, namespace, str(LIMIT), str(WINDOW), str(SECONDS), "8", kind]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.limits_member", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_many_processes_never_admit_more_than_the_limit(redis_url: str, namespace: str, kind: str) -> None:
    """Three processes press for some windows; the log of admitted times keeps the limit, and uses it up.

    Those who press at once in a process go together: there are fewer trips than checks.
    """
    with (
        member(redis_url, namespace, kind) as one,
        member(redis_url, namespace, kind) as two,
        member(redis_url, namespace, kind) as three,
    ):
        crew = [one, two, three]
        for process in crew:
            process.stdin.write("go\n")
            process.stdin.flush()
        reports = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in crew]
    times = sorted(at for report in reports for at in report["admitted"])
    log = Log(round(WINDOW * 1000), [(at, 1) for at in times])
    assert log.most() == LIMIT
    assert len(times) >= LIMIT * int(SECONDS * 1000 / (WINDOW * 1000 + SLICE_MS))
    assert all(sum(report["sizes"]) > 1.5 * len(report["sizes"]) for report in reports)
