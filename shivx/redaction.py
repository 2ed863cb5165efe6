"""Redaction: what must not stand in a log is taken out of every line, wherever it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from shivx.config import Settings

HIDDEN = "[hidden]"
MIN_CHARACTERS = 6
"""A shorter secret would be found in words that are none."""

_KINDS = (
    r"(?<=\bshx_)[A-Za-z0-9_-]+",  # an API key: the prefix stays, to tell what it was
    r"(?<=://)[^/\s@]*:[^/\s]*(?=@)",  # user and password in a URL
    r"(?i:(?<=\bbearer )[A-Za-z0-9._~+/=-]{16,})",
    r"(?i:(?<=\bcookie)(?:['\"]?\s*[:=,]|\s).*)",  # a header or parameter, to the end of its line
    r"(?i:(?<=\bauthorization)(?:['\"]?\s*[:=,]|\s).*)",
    r"(?i:(?<=\bx-api-key)(?:['\"]?\s*[:=,]|\s).*)",
)


class Redactor:
    """Replaces secrets in text: those given, and what looks like a credential.

    It is the second line: no code of the service writes any. But libraries show what they fail on.

    Args:
        secrets: text that is replaced wherever it stands.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({each for each in secrets if len(each) >= MIN_CHARACTERS}, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), *_KINDS]))

    def __call__(self, text: str) -> str:
        """Return *text* without secrets."""
        return self._pattern.sub(HIDDEN, text)


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield the secrets among *settings*; of a URL its password."""
    for value in dict(settings).values():
        for secret in value if isinstance(value, tuple) else (value,):
            if isinstance(secret, SecretStr):
                yield from _parts(secret.get_secret_value())


def _parts(text: str) -> Iterator[str]:
    if "://" not in text:
        yield text
        return
    try:
        password = urlsplit(text).password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
