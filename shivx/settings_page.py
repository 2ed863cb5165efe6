"""The table of all settings in docs/configuration.md: ``python -m shivx.settings_page`` prints it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic.fields import FieldInfo

from shivx.config import SECRETS, Settings
from shivx.environment import PREFIX

HEAD = ("| Variable | Default | File | Meaning |", "|---|---|---|---|")
_DERIVED = {
    "instance_dir": "`instance`",
    "redis_state_url": "as `SHIVX_REDIS_URL`",
    "model_dir": "the folder `models` in the instance folder",
    "database_url": "SQLite, `shivx.db` in the instance folder",
    "secret_keys": "generated",
}
"""Defaults that are worked out."""


def rows() -> Iterator[str]:
    """Yield the lines of the table, in the order of `Settings`."""
    yield from HEAD
    for field, info in Settings.model_fields.items():
        name = PREFIX + field.upper()
        default = _DERIVED.get(field) or _default(info)
        meaning = " ".join((info.description or "").split())
        yield f"| `{name}` | {default} | {'yes ' if name in SECRETS else ''}| {meaning} |"


def _default(info: FieldInfo) -> str:
    value = info.default
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`" if value else "none"
    if isinstance(value, bool):
        return f"`{value}`".lower()
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201 (that is what it is for)
