"""The names of pairs and tokens: how a client may write them, and the one form that ShivX keeps."""

from __future__ import annotations

import unicodedata

from shivx.errors import InvalidParameter
from shivx.models import Pair

MAX_SYMBOL_CHARACTERS = 32
MAX_PAIR_CHARACTERS = 2 * MAX_SYMBOL_CHARACTERS + 1


def parse_pair(text: str, parameter: str = "pair") -> Pair:
    """Return the canonical form of a pair: ``btc-usdc`` becomes ``BTC-USDC``.

    Every way to write a pair that differs only by case or Unicode composition gives the same result, and
    that result gives itself.

    Args:
        text: ``BASE-QUOTE``, 1-32 letters or digits each side, of any script.
        parameter: what the error shall name.
    Raises:
        InvalidParameter: *text* is no pair; code ``malformed``.
    """
    base, dash, quote = text.partition("-")
    if not dash:
        raise InvalidParameter(parameter, "malformed", "a pair is written BASE-QUOTE, such as BTC-USDC")
    return f"{parse_symbol(base, parameter)}-{parse_symbol(quote, parameter)}"


def parse_symbol(text: str, parameter: str = "symbol") -> str:
    """Return the canonical form of a token symbol or one side of a pair, as `parse_pair` does.

    Raises:
        InvalidParameter: *text* is not 1-32 letters or digits; code ``malformed``.
    """
    if len(text) <= MAX_SYMBOL_CHARACTERS:  # before any work on what a client sent
        symbol = _upper(text)
        if symbol.isalnum() and len(symbol) <= MAX_SYMBOL_CHARACTERS:
            return symbol
    raise InvalidParameter(
        parameter, "malformed", f"a symbol is 1 to {MAX_SYMBOL_CHARACTERS} letters or digits, such as BTC"
    )


def _upper(text: str) -> str:
    """Return *text* in upper case, whatever case it came in, composed.

    Folding first makes ``ß``, ``ẞ`` and ``SS`` one, where `str.upper` alone keeps ``ẞ`` apart. Case mapping
    can take composed text apart, hence NFC around each step.
    """
    if text.isascii():
        return text.upper()
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return unicodedata.normalize("NFC", folded.upper())
