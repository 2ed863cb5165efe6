"""The checks of the house style that ruff has no rule for. Each returns a line for each problem."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

from tests.source_tree import (
    Module,
    dotted,
    full_names,
    functions,
    is_within,
    read_modules,
    resolve,
)

PRODUCT = ("cache_ext", "shivx", "blueprints", "wsgi", "gunicorn.conf")
ALL = (*PRODUCT, "tests", "benchmarks", "examples")
MAX_MODULE_LINES = 250
MAX_FUNCTION_LINES = 40  # without the docstring and without definitions inside, which count for themselves
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}
UNSAFE = ("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle")
SLEEPS = ("time.sleep", "gevent.sleep", "asyncio.sleep")
SKIPS = ("pytest.skip", "pytest.importorskip", "pytest.xfail", "unittest.skip")
SKIPS += tuple(f"pytest.mark.{mark}" for mark in ("skip", "skipif", "xfail", "flaky"))
# Module -> why it is exempt.
MAY_SLEEP = {
    "tests.waiting": "the bounded poll that all other waiting goes through",
    "tests.accounts_gevent": "ticks, to measure for how long the hub was blocked",
    "tests.embedded_gevent": "ticks, to measure for how long the hub was blocked",
    "tests.open_loop": "sends requests when they are due, whatever becomes of those before",
    "tests.models_process": "ticks, to see whether the hub goes on",
}
MAY_SKIP = {"tests.conftest": "for a server that this machine lacks"}


def length_problems(root: Path) -> list[str]:
    """Report modules and functions that are too long."""
    problems = []
    for module in read_modules(root, *PRODUCT):
        if (lines := module.text.count("\n")) > MAX_MODULE_LINES:
            problems.append(module.at(lines, f"{lines} lines; a module has at most {MAX_MODULE_LINES}"))
        problems += [
            module.at(function.lineno, f"{function.name} has {lines} lines, at most {MAX_FUNCTION_LINES}")
            for function in functions(module)
            if (lines := _code_lines(function)) > MAX_FUNCTION_LINES
        ]
    return problems


def docstring_problems(root: Path) -> list[str]:
    """Report modules whose job is not stated in the first line of their docstring."""
    return [
        module.at(1, "the first line of the module's docstring does not say its job")
        for module in read_modules(root, *ALL)
        if not (ast.get_docstring(module.tree, clean=False) or "").partition("\n")[0].strip()
    ]


def name_problems(root: Path) -> list[str]:
    """Report modules whose name could hold anything."""
    return [
        module.at(1, f"a module called {module.path.stem} has no one job")
        for module in read_modules(root, *ALL)
        if VAGUE & set(module.path.stem.split("_")) or VAGUE & set(module.path.parent.parts)
    ]


def public_name_problems(root: Path, package: str) -> list[str]:
    """Report differences between the ``__all__`` of *package* and the public names it binds."""
    module = next(module for module in read_modules(root, package) if module.name == package)
    bound = {name for node in module.tree.body for name in _bound(node)}
    public = {name for name in bound if not name.startswith("_")}
    listed = _dunder_all(module)
    if listed is None:
        return [module.at(1, "no __all__")]
    return [
        *(module.at(1, f"{name} is public, but not in __all__") for name in sorted(public - listed)),
        *(module.at(1, f"{name} is in __all__, but not there") for name in sorted(listed - bound)),
    ]


def redis_error_problems(root: Path, only: str) -> list[str]:
    """Report modules outside of *only* that catch or suppress errors of redis-py."""
    return [
        module.at(node.lineno, f"catches {name}; only {only} does")
        for module in read_modules(root, *PRODUCT)
        if not is_within(module.name, only)
        for node, name in _caught(module)
        if is_within(name, "redis")
    ]


def pickle_problems(root: Path) -> list[str]:
    """Report imports of serialisers that run code from the bytes they read."""
    return [
        module.at(found.line, f"imports {found.name}")
        for module in read_modules(root, *ALL)
        for found in module.imports
        if is_within(found.name, *UNSAFE)
    ]


def sleep_problems(root: Path) -> list[str]:
    """Report tests that sleep and hope."""
    return _uses(root, SLEEPS, MAY_SLEEP, "wait for the event, or use tests.waiting.until")


def skip_problems(root: Path) -> list[str]:
    """Report tests that are skipped, expected to fail, or tried again."""
    return _uses(root, SKIPS, MAY_SKIP, "a test runs, and passes")


def _uses(root: Path, banned: Collection[str], exempt: Collection[str], advice: str) -> list[str]:
    return [
        module.at(node.lineno, f"{name}: {advice}")
        for module in read_modules(root, "tests")
        if module.name not in exempt
        for node, name in _named(module)
        if name in banned
    ]


def _named(module: Module) -> Iterator[tuple[ast.expr, str]]:
    """Yield the names that *module* uses, resolved."""
    names = full_names(module)
    for node in module.nodes:
        if isinstance(node, ast.Name | ast.Attribute):
            yield node, resolve(node, names)


def _caught(module: Module) -> Iterator[tuple[ast.expr, str]]:
    """Yield what except clauses and `suppress` calls of *module* name, resolved."""
    names = full_names(module)
    for node in module.nodes:
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            caught = [node.type]
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("suppress"):
            caught = node.args
        else:
            continue
        for expression in caught:
            kinds = expression.elts if isinstance(expression, ast.Tuple) else [expression]
            yield from ((kind, resolve(kind, names)) for kind in kinds)


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    inside = [node for node in function.body if isinstance(node, DEFINITIONS)]
    docstring = function.body[:1] if ast.get_docstring(function) is not None else []
    return _lines(function) - sum(_lines(node) for node in (*docstring, *inside))


def _lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _bound(node: ast.stmt) -> set[str]:
    """Return the names that a statement at the top of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.If):  # what is imported for types only
        return {name for inner in node.body for name in _bound(inner)}
    if isinstance(node, ast.Import | ast.ImportFrom):
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        return set() if future else {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _dunder_all(module: Module) -> set[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and "__all__" in _bound(node):
            return set(ast.literal_eval(node.value))
    return None
