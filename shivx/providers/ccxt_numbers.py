"""Numbers, times and names from an exchange: made canonical without losing a digit, or refused."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from shivx.errors import OriginInvalid
from shivx.models import Digits, Pair

_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?")
_MAX_LENGTH = 80  # of `Digits`
_LETTERS_AND_DIGITS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"})
_MAX_CODE = 32
_FIRST_MOMENT = 1_230_768_000_000  # 2009, before the first trade of any coin, Unix ms
_CLOCK_TOLERANCE = 86_400_000  # an exchange's clock may be ahead of ours by a day, not by a century; ms
_PERCENT_DIGITS = 1_000_000  # a percentage beyond this is no change of a price


def digits(value: object, what: str) -> Digits:
    """Return *value* as JSON number text in fixed notation, with exactly the digits it came with.

    Args:
        value: text or int; a float is refused, its digits are lost already.
        what: names the number in the error.
    Raises:
        OriginInvalid: not a finite number, or longer than 80 characters.
    """
    if type(value) is int:
        value = str(value) if abs(value) < 10**_MAX_LENGTH else "x"
    match = _NUMBER.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_LENGTH else None
    if match is None or not (match[2] or match[3]):
        raise OriginInvalid(f"{what} is not a number")
    sign, whole, fraction, exponent = match[1], match[2] or "", match[3] or "", match[4]
    if exponent is not None:
        whole, fraction = _shift(whole, fraction, int(exponent))
    whole = whole.lstrip("0") or "0"
    text = f"{whole}.{fraction}" if fraction else whole
    if sign == "-" and text.strip("0.") != "":
        text = "-" + text
    if len(text) > _MAX_LENGTH:
        raise OriginInvalid(f"{what} has too many digits")
    return text


def _shift(whole: str, fraction: str, places: int) -> tuple[str, str]:
    """Move the decimal point *places* to the right."""
    if places >= 0:
        fraction = fraction.ljust(places, "0")
        return whole + fraction[:places], fraction[places:]
    whole = whole.rjust(-places, "0")
    return whole[:places], whole[places:] + fraction


def positive(value: object, what: str) -> Digits:
    """Return *value* as `digits`. Raises OriginInvalid unless it is > 0."""
    text = digits(value, what)
    if Decimal(text) <= 0:
        raise OriginInvalid(f"{what} is not positive")
    return text


def not_negative(value: object, what: str) -> Digits:
    """Return *value* as `digits`. Raises OriginInvalid unless it is >= 0."""
    text = digits(value, what)
    if Decimal(text) < 0:
        raise OriginInvalid(f"{what} is negative")
    return text


def positive_or_none(value: object, what: str) -> Digits | None:
    """Return *value* as `digits`, None for None, empty and 0. Raises OriginInvalid if it is < 0."""
    if value is None or value == "":
        return None
    text = not_negative(value, what)
    return text if Decimal(text) > 0 else None


def not_negative_or_none(value: object, what: str) -> Digits | None:
    """Return *value* as `digits`, None for None and empty. Raises OriginInvalid if it is < 0."""
    return None if value is None or value == "" else not_negative(value, what)


def percent(value: object) -> float | None:
    """Return a percentage as a finite float, None for None. Raises OriginInvalid if it is neither."""
    if value is None or value == "":
        return None
    number = float(digits(value, "the change"))
    if abs(number) > _PERCENT_DIGITS:
        raise OriginInvalid("the change is no change of a price")
    return number


def change_percent(opened: Digits | None, last: Digits) -> float | None:
    """Return by how many percent a price went from *opened* to *last*."""
    return None if opened is None else float((Decimal(last) / Decimal(opened) - 1) * 100)


def moment(value: object, now: int, what: str) -> int:
    """Return an exchange's time in Unix ms. Raises OriginInvalid if it cannot be one."""
    if type(value) is not int or not _FIRST_MOMENT <= value <= now + _CLOCK_TOLERANCE:
        raise OriginInvalid(f"{what} is not a time")
    return value


def code_of(value: object) -> str | None:
    """Return a currency's code in upper case and NFC, None if it is not 1-32 letters or digits."""
    if not isinstance(value, str):
        return None
    code = unicodedata.normalize("NFC", value.upper())
    fits = 1 <= len(code) <= _MAX_CODE and all(
        unicodedata.category(char) in _LETTERS_AND_DIGITS for char in code
    )
    return code if fits else None


def pair_of(base: object, quote: object) -> Pair | None:
    """Return ``BASE-QUOTE``, None if a code is not one that clients can name."""
    left, right = code_of(base), code_of(quote)
    return f"{left}-{right}" if left and right else None
