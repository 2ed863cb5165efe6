"""What accounts and API keys may be called."""

from __future__ import annotations

import re
import unicodedata

from shivx.accounts.models import MAX_KEY_NAME, MAX_NAME
from shivx.errors import InvalidParameter

_ACCOUNT = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?")
_UNSEEN = ("C", "Z")
"""Categories of characters that show nothing, or change how others show."""


def account_name(text: str) -> str:
    """Return the name that *text* means: in lower case, so that no two differ by case only.

    ASCII letters and digits, inside it also ``. _ @ + -``: no two names look alike, none needs quoting.

    Raises:
        InvalidParameter: *text* is no name.
    """
    name = text.lower() if text.isascii() else ""
    if len(name) > MAX_NAME or not _ACCOUNT.fullmatch(name):
        raise InvalidParameter(
            "name",
            "malformed",
            f"1 to {MAX_NAME} ASCII letters and digits, inside also . _ @ + and -",
        )
    return name


def key_name(text: str) -> str:
    """Return what an API key is to be called: any line of visible text, in the one form Unicode has for it.

    Raises:
        InvalidParameter: it is empty, too long, or has characters that nobody sees, other than spaces inside.
    """
    name = unicodedata.normalize("NFC", text[: 4 * MAX_KEY_NAME]).strip(" ")
    seen = all(char == " " or unicodedata.category(char)[0] not in _UNSEEN for char in name)
    if not 0 < len(name) <= MAX_KEY_NAME or len(text) > 4 * MAX_KEY_NAME or not seen:
        raise InvalidParameter("name", "malformed", f"1 to {MAX_KEY_NAME} visible characters")
    return name
