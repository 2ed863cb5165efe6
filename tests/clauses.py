"""Which clause of which standard each test of the HTTP cache is about, as its docstring says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_CLAUSE = re.compile(r"(?P<clause>(?:RFC \d{4}|PEP \d{4})[^:]*): (?P<says>.+)")
_NUMBER = re.compile(r"\d+")


def rows(folder: Path) -> list[str]:
    """Return a row of the table for each such test of *folder*, in the order of the clauses."""
    found = []
    for path in sorted(folder.glob("test_http_cache_*.py")):
        for node in ast.parse(path.read_text()).body:
            said = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            match = _CLAUSE.match((said or "").split("\n")[0])
            if isinstance(node, ast.FunctionDef) and match is not None:
                fact = node.name.removeprefix("test_").replace("_", " ")
                row = f"| {match['clause']} | {fact}: {match['says']} | `{path.name}::{node.name}` |"
                found.append((_order(match["clause"]), row))
    return [row for _, row in sorted(found)]


def _order(clause: str) -> tuple[int, ...]:
    first = re.split(r",? and |; |, (?=[A-Z])", clause)[0]
    return tuple(map(int, _NUMBER.findall(first)))


if __name__ == "__main__":
    print("\n".join(rows(Path(__file__).parent)))
