"""The house style where ruff has no rule for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house_style as style

ROOT = Path(__file__).parent.parent
GATEWAY = "cache_ext.transport"


def find_foreign_handlers(root: Path) -> list[str]:
    """Report handlers of redis-py's errors outside the gateway and what it goes by."""
    return style.redis_error_problems(root, GATEWAY)


CHECKS = (
    style.length_problems,
    style.docstring_problems,
    style.name_problems,
    find_foreign_handlers,
    style.pickle_problems,
    style.sleep_problems,
    style.skip_problems,
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_tree_keeps_the_house_style(check: Callable[[Path], list[str]]) -> None:
    """No file breaks this rule."""
    assert "\n".join(check(ROOT)) == ""


def test_public_names_are_those_listed() -> None:
    """``cache_ext.__all__`` lists what the package binds without underscore, no more and no less."""
    assert "\n".join(style.public_name_problems(ROOT, "cache_ext")) == ""


LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 40
DOCUMENTED = 'def f():\n    """Do it.\n' + "\n    More.\n" * 20 + '    """\n' + "    x = 1\n" * 39


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (style.length_problems, "shivx/a.py", "x = 1\n" * 251),
        (style.length_problems, "cache_ext/a.py", LONG_FUNCTION),
        (
            style.length_problems,
            "gunicorn.conf.py",
            "class A:\n    async " + LONG_FUNCTION.replace("\n", "\n    "),
        ),
        (
            style.length_problems,
            "shivx/b.py",
            "def f():\n    x = 1\n    " + LONG_FUNCTION.replace("\n", "\n    "),
        ),
        (style.docstring_problems, "tests/a.py", "x = 1\n"),
        (style.docstring_problems, "shivx/a.py", '"""\nToo late."""\n'),
        (style.name_problems, "shivx/utils.py", ""),
        (style.name_problems, "blueprints/cache_manager.py", ""),
        (style.name_problems, "cache_ext/common/a.py", ""),
        (find_foreign_handlers, "shivx/a.py", "import redis\ntry: ...\nexcept redis.RedisError: ..."),
        (
            find_foreign_handlers,
            "cache_ext/a.py",
            "from redis.exceptions import TimeoutError as T\ntry: ...\nexcept (KeyError, T): ...",
        ),
        (
            find_foreign_handlers,
            "cache_ext/b.py",
            "from redis import RedisError\nfrom contextlib import suppress\nwith suppress(RedisError): ...",
        ),
        (style.pickle_problems, "cache_ext/a.py", "def f():\n    from pickle import loads"),
        (style.pickle_problems, "tests/a.py", "import marshal as m"),
        (style.sleep_problems, "tests/a.py", "import time\ntime.sleep(1)"),
        (style.sleep_problems, "tests/a.py", "from time import sleep as nap\nnap(1)"),
        (
            style.skip_problems,
            "tests/a.py",
            "import pytest\n@pytest.mark.skipif(True, reason='')\ndef f(): ...",
        ),
        (style.skip_problems, "tests/a.py", "from pytest import mark\npytestmark = mark.xfail"),
        (style.skip_problems, "tests/a.py", "import pytest\ndef f():\n    pytest.skip('later')"),
    ],
)
def test_breach_is_seen(tmp_path: Path, check: Callable[[Path], list[str]], name: str, text: str) -> None:
    """Each rule notices what it forbids."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (problem,) = check(tmp_path)
    assert problem.startswith(f"{name}:")


@pytest.mark.parametrize("check", CHECKS)
def test_what_is_allowed_is_not_reported(tmp_path: Path, check: Callable[[Path], list[str]]) -> None:
    """A tree at the limits of every rule has no problems."""
    (tmp_path / "shivx").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "cache_ext").mkdir()
    (tmp_path / "shivx/a.py").write_text('"""One job."""\n' + DOCUMENTED)
    (tmp_path / "shivx/b.py").write_text('"""One job."""\n' + "x = 1\n" * 249)
    (tmp_path / "cache_ext/transport").mkdir(parents=True)
    (tmp_path / "cache_ext/transport/connection.py").write_text(
        '"""One job."""\nfrom redis import RedisError\ntry: ...\nexcept RedisError: ...\n'
    )
    (tmp_path / "tests/waiting.py").write_text('"""One job."""\nimport time\ntime.sleep(1)\n')
    (tmp_path / "tests/conftest.py").write_text('"""One job."""\nimport pytest\npytest.skip("no server")\n')
    assert check(tmp_path) == []


def test_public_names_and_all_must_agree(tmp_path: Path) -> None:
    """What is listed but missing, or public but not listed, is reported; private names are free."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text(
        "from __future__ import annotations\nfrom shop.a import A, _b\nimport json\n\n"
        "VERSION: str = '1'\n_private = 2\n__all__ = ['A', 'VERSION', 'gone']\n"
    )
    assert style.public_name_problems(tmp_path, "shop") == [
        "shop/__init__.py:1: json is public, but not in __all__",
        "shop/__init__.py:1: gone is in __all__, but not there",
    ]
