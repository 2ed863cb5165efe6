"""The table of operations in docs/api.md: ``python -m blueprints.openapi.table < openapi.json`` prints it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from blueprints.openapi.operations import ADMINS, ANYBODY, EVENTS, OPERATIONS, PEOPLE, SOMEBODY

HEAD = ("| Request | Name | Who | Kept | What |", "|---|---|---|---|---|")
_WHO = {ANYBODY: "anybody", SOMEBODY: "key or session", PEOPLE: "session", ADMINS: "admin", EVENTS: "events"}
_OPERATIONS = {operation.id: operation for operation in OPERATIONS.values()}


def rows(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table, in the order of *document*, which is /openapi.json."""
    yield from HEAD
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            operation = _OPERATIONS[described["operationId"]]
            kept = "yes" if operation.cached else ""
            cells = (
                f"`{method.upper()} {path}`",
                f"`{operation.id}`",
                _WHO[operation.rights],
                kept,
                described["summary"],
            )
            yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(rows(json.load(sys.stdin))))  # noqa: T201 (that is what it is for)
