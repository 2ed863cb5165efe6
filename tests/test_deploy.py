"""What is in deploy/ for containers and proxies: as far as it can be tried without a container engine."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from shivx.config import Settings
from tests.haproxy import check, noticing_seconds
from tests.nginx import ask, nginx_before
from tests.processes import free_port
from tests.promtool import DEPLOYED, promtool
from tests.servers import RunningServer
from tests.service import ROOT, GunicornService

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
TEXTS = [file.read_text() for file in (*DEPLOY.glob("*"), *DEPLOY.glob("*/*")) if file.is_file()]
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w-]+)?")
PRICE = "/api/market/price/BTC-USDC"
TOKEN = "a-token-of-whoever-scrapes"
LIMIT = 20


def copied() -> list[str]:
    """Return what the image has of the checkout."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return [name for line in lines for name in line.split()]


def image_environment() -> dict[str, str]:
    """Return the SHIVX_ variables that the image sets."""
    return dict(re.findall(r"\b(SHIVX_\w+)=(\S+)", DOCKERFILE))


def test_every_setting_that_is_named_exists() -> None:
    """In all files of deploy/; a secret may come from a file."""
    known = {f"SHIVX_{name.upper()}" for name in Settings.model_fields}
    named = {name.removesuffix("_FILE") for text in TEXTS for name in re.findall(r"\bSHIVX_[A-Z0-9_]+", text)}
    assert named - known == set()
    assert len(named) >= 8


def test_images_have_full_versions() -> None:
    """Those that are pulled and those that the image is built from."""
    pulled = [service["image"] for service in SERVICES.values()]
    built_from = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(pulled) == 4
    assert len({*built_from}) == 1
    assert [name for name in (*pulled, *built_from) if not PINNED.fullmatch(name)] == []
    assert built_from[0].startswith("python:3.11.")


def test_what_is_mounted_and_needed_is_there() -> None:
    """Files, volumes, secrets and services that others name; only this machine reaches what listens."""
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (DEPLOY / source).is_dir() if source.startswith(".") else source in COMPOSE["volumes"], (
                name
            )
        assert {*service.get("secrets", ())} <= COMPOSE["secrets"].keys()
        assert {*service.get("depends_on", ())} <= SERVICES.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for value in service.get("environment", {}).values():
            if str(value).startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]
    build = SERVICES["shivx"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert [name for name in (*copied(), "requirements.txt") if not (ROOT / name).exists()] == []
    let_in = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in let_in if line.startswith("!")} == {*copied(), "requirements.txt"}


def test_the_image_runs_as_a_user_of_its_own_and_is_asked_how_it_is() -> None:
    """Not as root, by a probe that does not restart what is degraded or drains, with time to drain."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    (user,) = re.findall(r"^USER (\w+)$", last, re.MULTILINE)
    assert f"useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin {user}" in last
    assert last.index("\nUSER ") < last.index("\nCMD ")
    assert "/healthz" in last
    assert "/readyz" not in last
    drain = Settings.model_fields["drain_seconds"].default
    assert int(SERVICES["shivx"]["stop_grace_period"].removesuffix("s")) > 2 * drain


@pytest.mark.usefixtures("prometheus")
def test_prometheus_takes_its_configuration_for_containers() -> None:
    """It is that of a host, but for where the service is and that it wants a token."""
    assert "SUCCESS" in promtool("check", "config", "--syntax-only", "compose.yml")
    inside, outside = (
        yaml.safe_load((DEPLOYED / name).read_text()) for name in ("compose.yml", "prometheus.yml")
    )
    (scraped,) = inside["scrape_configs"]
    assert scraped.pop("authorization") == {"credentials_file": "/run/secrets/metrics_token"}
    assert "metrics_token" in SERVICES["prometheus"]["secrets"]
    assert scraped["static_configs"] == [{"targets": ["shivx:8000"]}]
    (scraped["static_configs"],) = [each["static_configs"] for each in outside["scrape_configs"]]
    assert inside == outside


@pytest.mark.service
@pytest.mark.parametrize("server_kind", ["redis"])
def test_what_the_image_copies_serves_in_production(own_redis_server: RunningServer, tmp_path: Path) -> None:
    """With the settings of compose.yaml, from nothing else; the exchange is away here, which is no 500."""
    image, secrets = tmp_path / "app", {"secret_keys": "k" * 48, "metrics_token": TOKEN}
    image.mkdir()
    for name in copied():
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, image / name)
    for name, text in secrets.items():
        (tmp_path / name).write_text(f"{text}\n")
    set_there = {name: str(value) for name, value in SERVICES["shivx"]["environment"].items()}
    env = {
        **image_environment(),
        **{name: value.replace("/run/secrets", str(tmp_path)) for name, value in set_there.items()},
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_MARKET_SOURCE_URL": f"http://127.0.0.1:{free_port()}",
        "SHIVX_INSTANCE_DIR": str(tmp_path / "data"),
    }
    bind = f"127.0.0.1:{free_port()}"
    env["SHIVX_BIND"] = bind
    with GunicornService(
        workers=int(set_there["WEB_CONCURRENCY"]), env=env, bind=bind, root=image
    ) as service:
        assert service.get("/healthz").status == 200
        assert service.get(PRICE).status == 503
        assert service.get("/metrics", {"X-Forwarded-For": "203.0.113.9"}).status == 401
        assert service.get("/metrics", {"Authorization": f"Bearer {TOKEN}"}).status == 200


@pytest.mark.usefixtures("haproxy")
def test_haproxy_takes_its_configuration_and_notices_a_drain_in_time() -> None:
    """It finds no fault; a drain lasts longer than it goes on sending requests to who drains."""
    check()
    assert Settings.model_fields["drain_seconds"].default > noticing_seconds()


@pytest.mark.service
@pytest.mark.usefixtures("nginx")
@pytest.mark.parametrize("server_kind", ["redis"])
def test_nginx_tells_who_asks_and_drops_what_clients_claim(own_redis_server: RunningServer) -> None:
    """Each address behind it has its own limit, whatever it claims; numbers are not for the world."""
    env = {
        "SHIVX_REDIS_URL": own_redis_server.url,
        "SHIVX_SECRET_KEYS": "a-secret-that-is-long-enough-for-it",
        "SHIVX_TRUSTED_PROXIES": "1",
        "SHIVX_LIMIT_ANONYMOUS": str(LIMIT),
        "SHIVX_CACHE_OP_TIMEOUT": "1",  # a busy machine is no dead Redis
    }
    with GunicornService(env=env) as service, nginx_before(service.url.removeprefix("http://")) as port:
        left = []
        for number, source in enumerate(("127.0.0.1", "127.0.0.1", "127.0.0.2")):
            claims = {"X-Forwarded-For": f"203.0.113.{number}", "Forwarded": f"for=203.0.113.{number}"}
            answer = ask(port, PRICE, {**claims, "X-Forwarded-Host": "evil.example"}, source)
            assert (answer.status, answer.headers["Server"][:5]) == (200, "nginx")
            left.append(int(answer.headers["X-RateLimit-Remaining"]))
        assert left == [LIMIT - 1, LIMIT - 2, LIMIT - 1]
        assert ask(port, "/metrics", {}).status == 404
        assert ask(port, "/healthz", {}).status == 200
