"""The requirements files pin all that is needed, nothing else, and what the tests ran with."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
BROUGHT_ALONG = "# What those bring along."


def read_pins(name: str) -> tuple[list[Requirement], list[Requirement]]:
    """Return the pins of a requirements file: those chosen, and those brought along."""
    chosen, _, brought = (ROOT / name).read_text().partition(BROUGHT_ALONG)
    return _requirements(chosen), _requirements(brought)


def _requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if re.match(r"\w", line)]


def applying(requirements: list[Requirement]) -> list[Requirement]:
    """Return those that this Python needs."""
    return [found for found in requirements if found.marker is None or found.marker.evaluate()]


def closure(roots: list[Requirement]) -> set[str]:
    """Return the names of *roots* and of all that they need here, as installed."""
    seen: set[tuple[str, str]] = set()
    left = [(root.name, extra) for root in roots for extra in ("", *root.extras)]
    while left:
        name, extra = left.pop()
        if (canonicalize_name(name), extra) in seen:
            continue
        seen.add((canonicalize_name(name), extra))
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                left += [(needed.name, inner) for inner in ("", *needed.extras)]
    return {name for name, _ in seen}


def names(requirements: list[Requirement]) -> set[str]:
    """Return the names as the index writes them."""
    return {canonicalize_name(found.name) for found in requirements}


def test_service_pins_are_complete_and_none_is_left_over() -> None:
    """What the chosen packages bring along is pinned, and nothing that they do not."""
    chosen, brought = read_pins("requirements.txt")
    assert names(applying(brought)) == closure(chosen) - names(chosen)


def test_development_pins_are_complete_and_none_is_left_over() -> None:
    """Likewise for what only tests and checks need."""
    service = names(applying([*chain(*read_pins("requirements.txt"))]))
    chosen, brought = read_pins("requirements-dev.txt")
    assert names(applying(brought)) == closure(chosen) - names(chosen) - service


def test_pins_are_what_the_tests_run_with() -> None:
    """Every pin is exact and installed."""
    for file in ("requirements.txt", "requirements-dev.txt"):
        for pin in applying([*chain(*read_pins(file))]):
            assert str(pin.specifier) == f"=={importlib.metadata.version(pin.name)}", pin


def test_pins_satisfy_the_project() -> None:
    """What pyproject.toml asks for, and in which versions, is chosen here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chosen = {canonicalize_name(pin.name): pin for pin in read_pins("requirements.txt")[0]}
    for text in [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]:
        wanted = Requirement(text)
        pin = chosen[canonicalize_name(wanted.name)]
        assert wanted.extras <= pin.extras
        assert wanted.specifier.contains(str(pin.specifier).removeprefix("=="))


@pytest.mark.parametrize(
    ("part", "file"), [("# Dependencies", "requirements.txt"), ("## For tests", "requirements-dev.txt")]
)
def test_each_chosen_package_is_explained(part: str, file: str) -> None:
    """docs/dependencies.md has a row for each."""
    text = (ROOT / "docs/dependencies.md").read_text().partition(part)[2].partition("\n## ")[0]
    found = re.findall(r"^\| (\S+) \|", text, re.MULTILINE)
    assert {canonicalize_name(Requirement(row).name) for row in found if row != "Package"} == names(
        read_pins(file)[0]
    )


def test_the_packages_for_traces_are_named() -> None:
    """Those of deploy/requirements-otel.txt too."""
    text = (ROOT / "docs/dependencies.md").read_text().partition("Only for traces")[2].partition("\n\n")[0]
    chosen = read_pins("deploy/requirements-otel.txt")[0]
    assert [pin.name for pin in chosen if pin.name not in text] == []
    assert chosen
