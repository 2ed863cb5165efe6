"""`GunicornService` runs, feels and ends the service as its promises say; tried with a tiny one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.processes import processes
from tests.service import GunicornService
from tests.waiting import until

TINY_CONFIG = """
import os
bind = os.environ["SHIVX_BIND"]
control_socket_disable = True
"""
TINY_APP = """
import json, os, subprocess

if os.environ.get("TINY") == "broken":
    raise RuntimeError("tiny is broken")
if os.environ.get("TINY") == "leaves a process":
    here = os.environ["SHIVX_INSTANCE_DIR"]
    subprocess.Popen(["sh", "-c", "sleep 60; : " + here], start_new_session=True)

def app(environ, start_response):
    status = "404 Not Found" if environ["PATH_INFO"] == "/nowhere" else "200 OK"
    seen = {name: value for name, value in os.environ.items() if name.startswith("SHIVX_")}
    start_response(status, [("X-Tiny", environ["REQUEST_METHOD"])])
    return [json.dumps({"pid": os.getpid(), "seen": seen}).encode()]
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with the smallest service that keeps the contract."""
    (tmp_path / "gunicorn.conf.py").write_text(TINY_CONFIG)
    (tmp_path / "wsgi.py").write_text(TINY_APP)
    return tmp_path


def test_service_answers_from_its_workers_and_leaves_nothing(tiny: Path) -> None:
    """Inside the block it answers; after it process and folder are gone."""
    with GunicornService(workers=2, root=tiny) as service:
        pid, folder, workers = service.pid, service.instance_dir, service.worker_pids()
        assert len(workers) == 2
        answer = service.get("/nowhere")
        assert (answer.status, answer.headers["x-tiny"]) == (404, "GET")
        assert json.loads(answer.body)["pid"] in workers
        assert service.send("POST", "/", b"x").headers["x-tiny"] == "POST"
    assert not folder.exists()
    assert not [found for found in processes() if found.session == pid]


@pytest.mark.parametrize("worker_class", ["gthread", "gevent"])
def test_worker_class_is_chosen_on_the_command_line(tiny: Path, worker_class: str) -> None:
    """The service runs under the worker class that the test names."""
    with GunicornService(worker_class=worker_class, root=tiny) as service:
        assert service.get("/").status == 200
        assert f"Using worker: {worker_class}" in service.log


def test_service_sees_only_the_settings_of_the_test(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the developer has set stays outside; a value of None removes a variable."""
    monkeypatch.setenv("SHIVX_ENV", "production")
    env = {"SHIVX_LOG_LEVEL": "debug", "SHIVX_INSTANCE_DIR": None}
    with GunicornService(env=env, root=tiny) as service:
        seen = json.loads(service.get("/").body)["seen"]
    assert seen == {
        "SHIVX_BIND": service.url.removeprefix("http://"),
        "SHIVX_LOG_LEVEL": "debug",
        "SHIVX_LIMIT_ANONYMOUS": "1000000",
        "SHIVX_CACHE_WARMING_ENABLED": "false",
        "SHIVX_DRAIN_SECONDS": "0",
    }


def test_signals_reach_the_master(tiny: Path) -> None:
    """TTIN adds a worker; a killed worker is replaced."""
    with GunicornService(root=tiny) as service:
        (first,) = service.worker_pids()
        service.signal(signal.SIGTTIN)
        until(lambda: len(service.worker_pids()) == 2, "a second worker")
        os.kill(first, signal.SIGKILL)
        until(lambda: len(service.worker_pids()) == 2 and first not in service.worker_pids(), "a new worker")


def test_log_of_a_service_that_does_not_start_is_shown(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says that it ended, and the log why."""
    with pytest.raises(RuntimeError, match="ended"), GunicornService(env={"TINY": "broken"}, root=tiny):
        pytest.fail("it started")
    assert "tiny is broken" in capsys.readouterr().out


def test_log_is_shown_when_the_test_fails(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failing block is explained by what the service logged meanwhile."""
    with pytest.raises(AssertionError, match="wrong price"), GunicornService(root=tiny):
        raise AssertionError("wrong price")
    assert "Booting worker" in capsys.readouterr().out


def test_process_that_outlives_the_service_is_found(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon in a session of its own is found by the folder it names, and killed."""
    monkeypatch.setattr("tests.service.STOP_SECONDS", 1.0)
    service = GunicornService(env={"TINY": "leaves a process"}, root=tiny)
    service.start()
    with pytest.raises(AssertionError, match="after SIGTERM there are"):
        service.stop()
    until(lambda: not [f for f in processes() if str(service.instance_dir) in f.command], "it is dead")


@pytest.mark.service
@pytest.mark.parametrize("worker_class", ["gevent", "gthread"])
def test_shivx_itself_starts_answers_and_ends(worker_class: str) -> None:
    """With the embedded defaults alone, the real service gives a price and leaves nothing behind."""
    with GunicornService(workers=2, worker_class=worker_class) as service:
        answer = service.get("/api/market/price/BTC-USDC")
        assert answer.status == 200, answer.body
        assert json.loads(answer.body)["source"] == "simulated"
