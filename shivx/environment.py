"""The SHIVX_ settings as text, gathered from the environment, `.env` and the files of secrets."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

PREFIX = "SHIVX_"
FILE_SUFFIX = "_FILE"
MAX_SECRET_FILE_BYTES = 65_536


def gather(
    environ: Mapping[str, str], dotenv: Path | None, names: Collection[str], secrets: Collection[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the text of each setting that is given, and what is wrong with how it is given.

    The environment wins over *dotenv*, where ``NAME`` and ``NAME_FILE`` count as one setting. Values in
    *dotenv* are taken as they stand: a ``${`` in a secret is no reference to another variable.

    Args:
        environ: such as `os.environ`.
        dotenv: the `.env` file; it need not exist. None: look for none.
        names: all settings there are, with their prefix.
        secrets: those of *names* that may come from a file.
    """
    settings, complaints = _read_dotenv(dotenv) if dotenv else ({}, [])
    given = {name: text for name, text in environ.items() if _is_ours(name)}
    for layer in (settings, given):
        complaints += _both_ways(layer, secrets)
    for name in secrets:
        if name in given or name + FILE_SUFFIX in given:
            settings.pop(name, None)
            settings.pop(name + FILE_SUFFIX, None)
    settings |= given
    known = {*names, *(name + FILE_SUFFIX for name in secrets)}
    complaints += [_unknown(name, known) for name in settings if name not in known]
    values = {name: text for name, text in settings.items() if name in names}
    for name in secrets:
        path = settings.get(name + FILE_SUFFIX)
        if path:
            text, complaint = _read_secret(name, Path(path))
            values[name] = text
            complaints += complaint
    return values, complaints


def _is_ours(name: str) -> bool:
    return name.upper().startswith(PREFIX)  # shivx_env is a mistake to tell, not another program's


def _read_dotenv(path: Path) -> tuple[dict[str, str], list[str]]:
    settings: dict[str, str] = {}
    complaints: list[str] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for binding in parse_stream(lines):
                where = f"{path}, line {binding.original.line}"
                if binding.error:
                    complaints.append(f"{where}: cannot be read; a line is NAME=value")
                elif binding.key is not None and _is_ours(binding.key):
                    if binding.value is None:
                        complaints.append(f"{binding.key}: {where} has no =")
                    settings[binding.key] = binding.value or ""
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        complaints.append(f"{path}: cannot be read: {_reason(error)}")
    return settings, complaints


def _both_ways(layer: Mapping[str, str], secrets: Collection[str]) -> Iterator[str]:
    for name in secrets:
        if layer.get(name) and layer.get(name + FILE_SUFFIX):
            yield f"{name}: give it or {name}{FILE_SUFFIX}, not both"


def _unknown(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name.upper(), known, n=1)
    return f"{name}: there is no such setting" + (f"; did you mean {close[0]}?" if close else "")


def _read_secret(name: str, path: Path) -> tuple[str, list[str]]:
    """Return what the file at *path* holds without its last line break; an empty one is an error."""
    place = f"{name}{FILE_SUFFIX}: {path}"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_FILE_BYTES + 1).decode().rstrip("\r\n")
    except (OSError, ValueError) as error:
        return "", [f"{place} cannot be read: {_reason(error)}"]
    if not text or len(text) > MAX_SECRET_FILE_BYTES:
        return "", [f"{place} is {'too large' if text else 'empty'}"]
    return text, []


def _reason(error: Exception) -> str:
    """Return why, without the content that failed to decode."""
    return error.strerror or "error" if isinstance(error, OSError) else "not UTF-8 text"
