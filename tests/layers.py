"""The checks of who imports whom. Each takes the root of a tree and returns a line for each problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.source_tree import is_within, read_modules

PRODUCT = ("cache_ext", "shivx", "blueprints", "wsgi")


@dataclass(frozen=True)
class Ban:
    """Modules within `importers` do not import what lies within `targets`, with exceptions on both sides."""

    importers: tuple[str, ...]
    targets: tuple[str, ...]
    because: str
    but_importers: tuple[str, ...] = ()
    but_targets: tuple[str, ...] = ()

    def forbids(self, importer: str, target: str) -> bool:
        """Return whether *importer* breaks the rule by importing *target*."""
        bound = is_within(importer, *self.importers) and not is_within(importer, *self.but_importers)
        return bound and is_within(target, *self.targets) and not is_within(target, *self.but_targets)


def rank_problems(root: Path, package: str, ranks: Mapping[str, int]) -> list[str]:
    """Report modules without rank, ranks without module, and imports of the same or a higher rank.

    Args:
        root: the folder that holds the package.
        package: its name.
        ranks: rank by dotted module name; a package means its ``__init__``.
    """
    modules = read_modules(root, package)
    names = {module.name for module in modules}
    problems = [f"{name} has a rank, but there is no such module" for name in sorted(ranks.keys() - names)]
    for module in modules:
        if module.name not in ranks:
            problems.append(module.at(1, f"{module.name} has no rank; give it one in tests/test_layers.py"))
            continue
        problems += [
            module.at(
                found.line, f"rank {ranks[module.name]} imports {found.name} of rank {ranks[found.name]}"
            )
            for found in module.imports
            if ranks.get(found.name, -1) >= ranks[module.name]
        ]
    return problems


def ban_problems(root: Path, *bans: Ban) -> list[str]:
    """Report imports that one of *bans* forbids."""
    return [
        module.at(found.line, f"{module.name} imports {found.name}: {ban.because}")
        for module in read_modules(root, *PRODUCT)
        for found in module.imports
        for ban in bans
        if ban.forbids(module.name, found.name)
    ]


def late_import_problems(root: Path, allowed: Mapping[tuple[str, str], str]) -> list[str]:
    """Report imports inside functions that are not *allowed*, and permissions that nothing uses.

    Args:
        root: the folder that holds the packages.
        allowed: (importing module, imported module) -> the reason.
    """
    problems, unused = [], set(allowed)
    for module in read_modules(root, *PRODUCT):
        for found in module.imports:
            if found.late and (module.name, found.name) in allowed:
                unused.discard((module.name, found.name))
            elif found.late:
                problems.append(module.at(found.line, f"late import of {found.name}"))
    return problems + [f"{importer} no longer imports {name} late" for importer, name in sorted(unused)]
