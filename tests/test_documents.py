"""Every program that README.md and docs/ show is run by a test, most of them here, or says why not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts_stage import PASSWORD
from tests.documents import PAGES, Block, blocks_of
from tests.model_stage import activate
from tests.service import ROOT, GunicornService

pytestmark = pytest.mark.service

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN_ELSEWHERE = {
    ("README.md", "python"): "test_readme.py",
    ("decorators.md", "python"): "test_decorators_doc.py",
    ("events.md", "python"): "test_events_doc.py",
    ("policies.md", "python"): "test_policies_doc.py",
    ("sessions.md", "python"): "test_sessions_doc.py",
    ("testing.md", "python"): "test_testing_kit.py",
}
"""Pages whose programs have a test of their own."""
SECONDS = 120.0
ADDRESS = "http://127.0.0.1:8000"
"""Where the documents' service answers."""
SOMEBODYS_KEY = "shx_…"
SHELL = """
set -eu
PATH={bin}:$PATH
curl() {{ command curl --silent --show-error --fail-with-body --max-time 30 "$@"; }}
flask() {{ command flask --app {root}/wsgi.py "$@"; }}
"""


def here(block: Block) -> bool:
    """Whether it is run here."""
    elsewhere = (block.page.name, block.language) in RUN_ELSEWHERE
    return not (elsewhere or block.run_by or block.reason)


def pages(language: str) -> list[Path]:
    """Return the pages with blocks in *language* to be run here."""
    return [
        page for page in PAGES if any(block.language == language and here(block) for block in blocks_of(page))
    ]


def program(page: Path, language: str) -> str:
    """Return the blocks of *page* in *language*, one after the other, each line where it stands there."""
    lines: list[str] = []
    for block in blocks_of(page):
        if block.language == language and here(block):
            lines += [""] * (block.line - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_each_block_is_run_or_says_why_not(block: Block) -> None:
    """By a test that knows its page, or here: then it is Python or a shell's; a reason has some words."""
    if block.reason is not None:
        assert len(block.reason.split()) >= 3
        return
    by = block.run_by or RUN_ELSEWHERE.get((block.page.name, block.language))
    if by is None:
        assert block.mark == ""
        assert block.language in {"python", "sh"}
    else:
        test = ROOT / "tests" / by
        assert test.exists()
        assert block.run_by is not None or block.page.name in test.read_text()


@pytest.mark.parametrize("page", pages("python"), ids=lambda page: page.name)
def test_python_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    """The blocks of a page are one program: it ends well, and nothing warns."""
    file = tmp_path / page.with_suffix(".py").name
    file.write_text(program(page, "python"))
    ran = subprocess.run(
        [sys.executable, "-W", "error", file],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GunicornService]:
    """The service of the documents: an embedded Redis, a simulated market, an admin's key, models."""
    folder = tmp_path_factory.mktemp("models")
    for name, probabilities in (("direction", (0.2, 0.3, 0.5)), ("volatility", (0.5, 0.3, 0.2))):
        activate(folder, name, probabilities)
    with GunicornService(env={"SHIVX_MODEL_DIR": str(folder), "SHIVX_LIMIT_ADMIN": "1000000"}) as service:
        yield service


@pytest.fixture(scope="module")
def key(service: GunicornService) -> str:
    """An admin's key."""
    create = ["accounts", "create", "root", "--tier", "admin", "--password-stdin"]
    made = service.run("flask", "--app", "wsgi", *create, stdin=PASSWORD)
    assert made.returncode == 0, made.stderr
    scopes = [f"--scope={scope}" for scope in ("read", "admin", "events")]
    told = service.run("flask", "--app", "wsgi", "accounts", "keys", "create", "root", "--name=docs", *scopes)
    found = re.search(r"shx_\S+", told.stdout)
    assert found is not None, told.stderr
    return found[0]


@pytest.mark.parametrize("page", pages("sh"), ids=lambda page: page.name)
def test_commands_do_as_they_stand(page: Path, service: GunicornService, key: str) -> None:
    """The commands of a page, one after the other in one shell, on a running service: none fails."""
    text = program(page, "sh").replace(ADDRESS, service.url).replace(SOMEBODYS_KEY, key)
    begin = SHELL.format(bin=Path(sys.executable).parent, root=ROOT)
    ran = subprocess.run(
        ["bash", "-c", begin + text.replace(".venv/bin/", "")],
        cwd=service.instance_dir,
        env=service.environment | {"KEY": key},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}"
