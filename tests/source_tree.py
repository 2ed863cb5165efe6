"""Python source read as syntax trees: what tests about the code's shape ask of it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported module. `late`: inside a function, so it runs at the first call."""

    name: str
    line: int
    late: bool


@dataclass(frozen=True)
class Module:
    """One source file. `name` is dotted; a package has the name of its folder. `nodes`: all of `tree`."""

    name: str
    path: Path
    text: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]
    imports: tuple[Import, ...]

    def at(self, line: int, problem: str) -> str:
        """Return *problem* as one line that says where it is."""
        return f"{self.path}:{line}: {problem}"


def read_modules(root: Path, *tops: str) -> list[Module]:
    """Return the modules under *tops*, packages or single files without suffix, that exist in *root*."""
    paths = [path for top in tops for path in (*root.glob(f"{top}.py"), *root.glob(f"{top}/**/*.py"))]
    return [_read(root, path, path.read_text()) for path in sorted(paths)]


def is_within(name: str, *packages: str) -> bool:
    """Return whether *name* is one of *packages* or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of *module*, nested ones included."""
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` as it is written, '' for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def full_names(module: Module) -> dict[str, str]:
    """Return for each imported name what it stands for: ``{"RedisError": "redis.exceptions.RedisError"}``."""
    names: dict[str, str] = {}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def resolve(node: ast.expr, names: dict[str, str]) -> str:
    """Return the full dotted name of *node*, imports undone; '' if it is not a name."""
    first, dot, rest = dotted(node).partition(".")
    return names.get(first, first) + dot + rest


@functools.cache  # each check reads all of them
def _read(root: Path, path: Path, text: str) -> Module:
    tree = ast.parse(text, str(path))
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    is_package = parts[-1] == "__init__"
    package = parts[:-1]
    imports = tuple(_imports(tree, root, package, late=False))
    return Module(
        ".".join(package if is_package else parts), relative, text, tree, tuple(ast.walk(tree)), imports
    )


def _imports(node: ast.AST, root: Path, package: tuple[str, ...], *, late: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, late) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        source = (*package[: len(package) + 1 - node.level],) if node.level else ()
        source += tuple((node.module or "").split(".")) if node.module else ()
        names = {_module_of(root, source, alias.name) for alias in node.names}
        yield from (Import(name, node.lineno, late) for name in sorted(names))
    late = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, root, package, late=late)


def _module_of(root: Path, source: tuple[str, ...], name: str) -> str:
    """Return which module ``from source import name`` takes: the submodule if there is one."""
    folder = root.joinpath(*source)
    is_module = (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists()
    return ".".join((*source, name) if is_module else source)
