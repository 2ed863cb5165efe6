"""What docs/monitoring.md says of the metrics, and what of an exposition it does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from cache_ext.metrics import DURATION_BUCKETS
from tests.service import ROOT

TEXT = (ROOT / "docs/monitoring.md").read_text()
OF_PYTHON = ("python_", "process_")
"""Those of the interpreter, which prometheus_client adds where there is one process only."""
_VERSION = re.compile(r"\d+(\.\d+)+\w*")
_STATUS = re.compile(r"[1-5]\d\d")


@dataclass(frozen=True)
class Documented:
    """A row of the table: the type, and by label what its values are: names, or a description of them."""

    kind: str
    labels: dict[str, str]


def documented() -> dict[str, Documented]:
    """Return the table, by name."""
    (table,) = re.findall(r"^\| metric \|.*\n\|[-|]+\n((?:^\|.*\n)+)", TEXT, re.MULTILINE)
    found = {}
    for row in table.splitlines():
        name, kind, labels, _ = (cell.strip() for cell in row.split("|")[1:-1])
        parts = (part.split(": ", 1) for part in labels.split("; ") if part)
        found[name.strip("`")] = Documented(kind, {label.strip("`"): values for label, values in parts})
    return found


def caches() -> list[str]:
    """Return the caches that are listed."""
    (listed,) = re.findall(r"A cache is one of ((?:`\w+`,?\s)*`\w+`);", TEXT)
    return quoted(listed)


def quoted(text: str) -> list[str]:
    """Return what stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def allows(values: str, value: str, routes: frozenset[str], sources: frozenset[str]) -> bool:
    """Tell whether *value* is among *values*, as a row has them."""
    described = {
        "a cache": value in caches(),
        "an exchange": value in sources,
        "a status code": _STATUS.fullmatch(value) is not None,
        "a version": _VERSION.fullmatch(value) is not None,
        "a route": value in routes,
    }
    return value in quoted(values) or any(values.startswith(kind) and so for kind, so in described.items())


def families(text: str) -> list[Metric]:
    """Return what an exposition has, but for what Python says of itself and when counters began."""
    found = list(text_string_to_metric_families(text))
    return [each for each in found if not each.name.startswith(OF_PYTHON) and each.name[-8:] != "_created"]


def undocumented(text: str, routes: frozenset[str], sources: frozenset[str]) -> list[str]:
    """Return what the exposition *text* has that the documents do not know, a line each."""
    return sorted({line for each in families(text) for line in _unknown(each, routes, sources)})


def _unknown(family: Metric, routes: frozenset[str], sources: frozenset[str]) -> Iterator[str]:
    rows, name = documented(), family.name.removesuffix("_info")
    if name not in rows:
        yield f"no metric {name}"
        return
    if family.type != rows[name].kind:
        yield f"{name} is a {family.type}"
    for sample in family.samples:
        labels = {label: value for label, value in sample.labels.items() if label != "le"}
        if labels.keys() != rows[name].labels.keys():
            yield f"{name} has the labels {sorted(labels)}"
        for label, value in labels.items():
            if not allows(rows[name].labels.get(label, ""), value, routes, sources):
                yield f"{name}: {label}={value!r}"


def bounds(family: Metric) -> set[float]:
    """Return the upper bounds of a histogram's buckets."""
    return {float(sample.labels["le"]) for sample in family.samples if "le" in sample.labels}


EXPECTED_BOUNDS = {*DURATION_BUCKETS, float("inf")}
