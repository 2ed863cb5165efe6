"""Training beside the running service: two instances on one Redis and one folder of models."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cache_ext import TieredCache
from shivx.jobs import store
from shivx.jobs.store import Jobs
from shivx.ml.registry import Registry
from tests.caches import connected
from tests.model_stage import activate
from tests.processes import Process, processes
from tests.servers import RunningServer
from tests.service import Answer, GunicornService
from tests.traffic import at_once, until_all_serve
from tests.waiting import until

pytestmark = pytest.mark.service

WORKERS = 2
CROWD = 8 * WORKERS  # at once, so that every worker answers some
TRAINED = 240.0  # seconds: a training takes three on an idle machine, and gives way on a busy one
BOUND = 60.0  # seconds: the staleness bound, or a beat; and slack for a busy machine
SLOW_ORIGIN = "1.0"  # seconds a call: a training asks long enough to be met in its midst
RETRAIN = "/api/ml/models/{}/retrain"


@dataclass
class Fleet:
    """Two instances, what they share, and a key of an admin. The other's origin is slow."""

    one: GunicornService
    other: GunicornService
    models: Registry
    key: str

    def ask(self, service: GunicornService, method: str, path: str) -> Answer:
        """Send a request of the admin."""
        return service.send(method, path, None, {"X-API-Key": self.key})

    def retrain(self, service: GunicornService, name: str) -> str:
        """Start a training; return where its job is told of."""
        answer = self.ask(service, "POST", RETRAIN.format(name))
        assert answer.status == 202, answer.body
        body = json.loads(answer.body)
        assert body == {"id": body["id"], "status": "queued", "progress": 0.0, "result": None, "error": None}
        assert answer.headers["Location"] == f"/api/ml/jobs/{body['id']}"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.headers["Location"]

    def retrain_slowly(self, name: str) -> str:
        """Start a training where the origin is slow, of candles that nobody has."""
        body = json.dumps({"reason": "a test"}).encode()
        headers = {"X-API-Key": self.key, "Content-Type": "application/json"}
        assert self.other.send("POST", "/api/admin/cache/flush", body, headers).status == 200
        return self.retrain(self.other, name)

    def job(self, path: str) -> Any:
        """Return what the first instance knows of a job."""
        answer = self.ask(self.one, "GET", path)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)

    def until_ended(self, path: str) -> Any:
        """Wait until a job is neither queued nor running; return what is known of it."""
        until(lambda: self.job(path)["status"] not in ("queued", "running"), "the job ends", TRAINED)
        return self.job(path)

    def until_asking(self, path: str) -> Process:
        """Wait until a job has its first candles; return its process."""
        until(lambda: self.job(path)["progress"] > 0, "the job has candles", TRAINED)
        (found,) = processes_of(path)
        return found

    def asked(self, name: str) -> list[Answer]:
        """Ask all workers of both what a model says."""
        path = f"/api/ml/predict/SOL-USDC?model={name}"
        return [answer for each in (self.one, self.other) for answer in at_once(each, path, CROWD)]

    def answers(self, name: str) -> set[int]:
        """Return the statuses of their answers."""
        return {answer.status for answer in self.asked(name)}

    def versions(self, name: str) -> set[str]:
        """Return which versions answer."""
        return {json.loads(answer.body)["version"] for answer in self.asked(name)}


def processes_of(path: str) -> list[Process]:
    """Return the processes of the job that *path* tells of."""
    job = path.rpartition("/")[2]
    return [each for each in processes() if job in each.command and not each.ended]


@pytest.fixture(scope="module")
def fleet(module_redis_server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The fleet; the direction has a version to begin with."""
    models = tmp_path_factory.mktemp("models")
    env = {
        "SHIVX_REDIS_URL": module_redis_server.url,
        "SHIVX_SECRET_KEYS": "one-secret-of-both-instances-long-enough",
        "SHIVX_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('accounts')}/shivx.db",
        "SHIVX_CACHE_ML_PREDICTION_TTL": "600",
        "SHIVX_MODEL_DIR": str(models),
        "SHIVX_LIMIT_ADMIN": "1000000",
    }
    slow = {"SHIVX_SIMULATED_LATENCY": SLOW_ORIGIN, "SHIVX_WARM_PAIRS": "BTC-EUR,ETH-EUR,SOL-EUR"}
    activate(models, "direction", (0.2, 0.2, 0.6))
    with (
        GunicornService(workers=WORKERS, env=env) as one,
        GunicornService(workers=WORKERS, env=env | slow) as other,
    ):
        for words in (
            ("create", "root", "--tier", "admin", "--password-stdin"),
            ("keys", "create", "root", "--scope", "admin"),
        ):
            done = one.run("flask", "accounts", *words, stdin="correct horse battery staple")
            assert done.returncode == 0, done.stderr
        yield Fleet(one, other, Registry(models), done.stdout.strip())


def test_a_retrained_model_answers_in_all_workers(fleet: Fleet) -> None:
    """Where there was none before; the result says that it serves, and why."""
    assert fleet.other.get("/api/ml/predict/SOL-USDC?model=volatility").status == 503
    path = fleet.retrain(fleet.one, "volatility")
    again = fleet.ask(fleet.other, "POST", RETRAIN.format("volatility"))
    assert (again.status, json.loads(again.body)["code"]) == (409, "conflict")
    assert path.rpartition("/")[2] in json.loads(again.body)["detail"]
    ended = fleet.until_ended(path)
    assert (ended["status"], ended["progress"], ended["error"]) == ("succeeded", 1.0, None)
    result = ended["result"]
    assert result.keys() == {"version", "activated", "reason", "metrics", "prior", "beats_naive"}
    assert (result["activated"], result["reason"]) == (True, "it is the first")
    assert [each.version for each in fleet.models.versions("volatility")] == [result["version"]]
    until(lambda: fleet.answers("volatility") == {200}, "all workers answer", BOUND)
    assert fleet.versions("volatility") == {result["version"]}


def test_a_training_outlives_the_worker_that_started_it(fleet: Fleet) -> None:
    """All workers of its instance are killed while it asks for candles, at low priority; its job goes on."""
    path = fleet.retrain_slowly("direction")
    process = fleet.until_asking(path)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) > 0
    for pid in fleet.other.worker_pids():
        os.kill(pid, signal.SIGKILL)
    assert [each.pid for each in processes_of(path)] == [process.pid]
    until_all_serve(fleet.other, WORKERS)
    assert fleet.until_ended(path)["status"] == "succeeded"
    until(lambda: not processes_of(path), "its process has ended")


def test_a_cancelled_training_leaves_nothing(fleet: Fleet) -> None:
    """From the other instance: no version, no process, no file; then another may begin."""
    before = sorted(str(each) for each in fleet.models.folder.rglob("*"))
    active = fleet.models.active("volatility")
    path = fleet.retrain_slowly("volatility")
    fleet.until_asking(path)
    answer = fleet.ask(fleet.one, "DELETE", path)
    assert (answer.status, json.loads(answer.body)["status"]) == (200, "cancelled")
    until(lambda: not processes_of(path), "its process has ended", BOUND)
    assert fleet.job(path)["status"] == "cancelled"
    assert "Traceback" not in fleet.other.log
    assert (
        sorted(str(each) for each in fleet.models.folder.rglob("*")),
        fleet.models.active("volatility"),
    ) == (
        before,
        active,
    )
    again = fleet.retrain(fleet.one, "volatility")
    assert fleet.until_ended(again)["status"] == "succeeded"
    over = fleet.ask(fleet.one, "DELETE", again)
    assert (over.status, json.loads(over.body)["status"]) == (200, "succeeded")


def test_a_killed_training_is_known_to_have_failed(fleet: Fleet) -> None:
    """Once its process has been silent for too long; then another may begin."""
    path = fleet.retrain_slowly("direction")
    os.kill(fleet.until_asking(path).pid, signal.SIGKILL)
    until(lambda: fleet.job(path)["status"] == "failed", "it counts as dead", store.SILENCE_SECONDS + BOUND)
    assert fleet.job(path)["error"] == "its process ended without a word"
    assert fleet.until_ended(fleet.retrain(fleet.one, "direction"))["status"] == "succeeded"


def test_the_command_is_a_job_too(
    fleet: Fleet, module_redis_server: RunningServer, make_cache: Callable[..., TieredCache]
) -> None:
    """It does not begin while another trains the model."""
    jobs = Jobs(connected(make_cache(module_redis_server.url, namespace="shivx")).gateway, "shivx")
    job = store.new_id("direction")
    jobs.begin(job)
    done = fleet.one.run("flask", "--app", "wsgi", "ml", "train", "direction")
    assert done.returncode == 1
    assert f"the job {job} does that already" in done.stderr
    jobs.fail(job, "it was never started")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", RETRAIN.format("oracle"), 404, "unknown_model"),
        ("POST", RETRAIN.format("ensemble"), 404, "unknown_model"),
        ("POST", RETRAIN.format("direction") + "?force=1", 400, "invalid_request"),
        ("GET", "/api/ml/jobs/direction-0123456789abcdef", 404, "unknown_job"),
        ("DELETE", "/api/ml/jobs/direction-0123456789abcdef", 404, "unknown_job"),
        ("GET", "/api/ml/jobs/x", 404, "unknown_job"),
    ],
)
def test_what_cannot_be_trained_or_is_no_job(
    fleet: Fleet, method: str, path: str, status: int, code: str
) -> None:
    """Each is a problem that names it."""
    answer = fleet.ask(fleet.one, method, path)
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


def test_models_are_trained_when_a_service_starts_for_the_first_time(tmp_path: Path) -> None:
    """Once for all its workers, while it serves; it is ready before, and its end ends what still trains."""
    env = {"SHIVX_CACHE_WARMING_ENABLED": "true", "SHIVX_MODEL_DIR": str(tmp_path)}
    path = "/api/ml/predict/SOL-USDC?model={}"
    with GunicornService(workers=WORKERS, env=env) as service:
        assert service.get("/readyz").status == 200
        assert service.get("/api/market/price/SOL-USDC").status == 200
        for name in ("direction", "volatility"):
            until(lambda name=name: service.get(path.format(name)).status == 200, f"{name} answers", TRAINED)
        assert service.log.count("training the first") == len(("direction", "volatility"))
    slow = env | {"SHIVX_MODEL_DIR": str(tmp_path / "none"), "SHIVX_SIMULATED_LATENCY": SLOW_ORIGIN}
    with GunicornService(workers=WORKERS, env=slow) as service:
        until(lambda: any("--job direction-" in each.command for each in processes()), "it trains", TRAINED)
        answer = service.get(path.format("direction"))
        assert (answer.status, int(answer.headers["Retry-After"]) >= 1) == (503, True)
    until(lambda: not any("--job direction-" in each.command for each in processes()), "it ends", BOUND)
