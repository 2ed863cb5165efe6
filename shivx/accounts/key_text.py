"""The text of an API key: how one is made, told from garbage without asking anybody, and hashed."""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib

PREFIX = "shx_"
"""By which people, and scanners for leaked secrets, recognise one."""
KEY_BITS = 256
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_ALPHABET)}
_BODY_CHARACTERS = 43  # 62 ** 43 > 2 ** 256
_CHECK_CHARACTERS = 6  # 62 ** 6 > 2 ** 32
_LENGTH = len(PREFIX) + _BODY_CHARACTERS + _CHECK_CHARACTERS
_SHAPE = re.compile(r"shx_[0-9A-Za-z]{49}")
_HINT_CHARACTERS = 4


def make_key() -> str:
    """Return a new key: `PREFIX`, 256 random bits, and a checksum, the latter two in base 62."""
    text = PREFIX + _base62(secrets.randbits(KEY_BITS), _BODY_CHARACTERS)
    return text + _base62(zlib.crc32(text.encode()), _CHECK_CHARACTERS)


def digest_of(text: str) -> bytes | None:
    """Return the hash under which a key is known, None if *text* cannot be one: mistyped, cut, garbage.

    A key has 256 random bits, so a fast hash is as good as a slow one: nobody can try them all.
    """
    if len(text) != _LENGTH or not _SHAPE.fullmatch(text):
        return None
    raw = text.encode()
    if _number(text[-_CHECK_CHARACTERS:]) != zlib.crc32(raw[:-_CHECK_CHARACTERS]):
        return None
    return hashlib.sha256(raw).digest()


def hint_of(text: str) -> str:
    """Return how a key begins, by which its owner tells it from his others; 24 bits of it, no more."""
    return text[: len(PREFIX) + _HINT_CHARACTERS]


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def _number(digits: str) -> int:
    """Return the number that is written so in base 62."""
    number = 0
    for digit in digits:
        number = number * len(_ALPHABET) + _VALUES[digit]
    return number
