"""One question to an exchange: its deadline, its slots, and what its failures mean."""

from __future__ import annotations

import email.utils
import logging
from collections.abc import Callable, Mapping
from typing import Any

from shivx.errors import NotFound, OriginError, OriginInvalid, OriginUnavailable, UnknownPair
from shivx.providers.ccxt_client import ccxt_errors
from shivx.providers.ccxt_profiles import Profile
from shivx.providers.deadline import Deadline, DeadlinePassed
from shivx.providers.http_line import Answer, BadAnswer, HttpLine
from shivx.providers.pacing import Pacer

RATE_LIMIT_PAUSE = 5.0
"""Seconds to keep quiet after a refusal that does not say for how long; the next refusal starts it anew."""
MAX_RETRY_AFTER = 3600.0  # seconds; a client that is told more would take us for dead
OUTAGE_PAUSE = 1.0  # seconds; what we tell clients when the exchange says nothing
TIME_FOR_ANSWER = 0.25  # seconds; a slot that leaves less than this before the deadline is not worth taking
_LIMITED = frozenset({418, 429})  # 418 is Binance's "you were told to stop"

logger = logging.getLogger(__name__)


class OriginLimiting(OriginUnavailable):
    """The exchange itself said that it was asked too often."""


class CcxtCall:
    """The `Call` of one question; see there.

    Args:
        line: the way out.
        interval: seconds between two calls of weight 1.
        now: Unix seconds, to read a Retry-After that is a date.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        source: str,
        line: HttpLine,
        pacer: Pacer,
        deadline: Deadline,
        *,
        interval: float,
        now: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self.deadline = deadline
        self._source = source
        self._line = line
        self._pacer = pacer
        self._interval = interval
        self._now = now
        self._sleep = sleep

    def pace(self, cost: float) -> None:
        """Wait for a slot. Raises OriginUnavailable if it comes too late."""
        try:
            left = self.deadline.remaining()
        except DeadlinePassed as error:
            raise self._too_slow() from error
        longest = max(left - TIME_FOR_ANSWER, left / 2)
        wait = self._pacer.reserve(self._source, longest, interval=self._interval, cost=cost)
        if wait > 0:
            self._sleep(wait)

    def penalise(self, seconds: float) -> None:
        """Keep the whole fleet quiet for *seconds*."""
        self._pacer.penalise(self._source, seconds)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Return the complete answer to one request.

        Raises:
            OriginUnavailable: no complete answer in time, a status of 5xx, or "too many requests".
            OriginInvalid: not HTTP.
        """
        try:
            answer = self._line.request(method, url, headers, body, self.deadline)
        except TimeoutError as error:
            raise self._too_slow() from error
        except OSError as error:
            raise OriginUnavailable(f"{self._source} cannot be reached ({type(error).__name__})") from error
        except BadAnswer as error:
            raise OriginInvalid(f"{self._source}: {error}") from error
        pause = _retry_after(answer.headers.get("retry-after"), self._now())
        if answer.status in _LIMITED:
            raise OriginLimiting(f"{self._source} is limiting us", _or(pause, RATE_LIMIT_PAUSE))
        if answer.status >= 500 or answer.status == 408:
            message = f"{self._source} answered with HTTP status {answer.status}"
            raise OriginUnavailable(message, _or(pause, OUTAGE_PAUSE))
        return answer

    def _too_slow(self) -> OriginUnavailable:
        return OriginUnavailable(f"{self._source} did not answer in time")


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _retry_after(text: str | None, now: float) -> float | None:
    """Read a Retry-After header, seconds or a date; None if there is none that makes sense."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def translate(error: Exception, source: str, profile: Profile) -> OriginError | NotFound:
    """Return what *error*, from anywhere inside a question, means to the caller. See docs/exchanges.md."""
    if isinstance(error, OriginError | NotFound):
        return error
    known = ccxt_errors()
    if not isinstance(error, known.BaseError):
        return OriginInvalid(f"{source} answered with something that is not market data")
    text = str(error)
    if isinstance(error, known.RateLimitExceeded | known.DDoSProtection):
        return OriginLimiting(f"{source} is limiting us", RATE_LIMIT_PAUSE)
    if isinstance(error, known.BadSymbol | known.InvalidOrder) or _has(text, profile.unknown_pair_texts):
        # Coinbase's "NotFound" and "Product not found" are errors of orders to ccxt.
        return UnknownPair(f"{source} does not trade this pair")
    if isinstance(error, known.BadResponse):
        return OriginInvalid(f"{source} answered with something that is not market data")
    if isinstance(error, known.OperationFailed) or _has(text, profile.unavailable_texts):
        return OriginUnavailable(f"{source} is not available", OUTAGE_PAUSE)
    if isinstance(error, known.AuthenticationError):  # PermissionDenied and the like are below it
        return OriginUnavailable(f"{source} refuses us", 60.0)
    return OriginInvalid(f"{source} did not understand us ({type(error).__name__})")


def _has(text: str, parts: tuple[str, ...]) -> bool:
    return any(part in text for part in parts)


def is_unexpected(error: Exception) -> bool:
    """Tell whether *error* is a plain Python error, as ccxt raises on answers it does not expect."""
    expected: tuple[type[Any], ...] = (OriginError, NotFound, ccxt_errors().BaseError)
    return not isinstance(error, expected)
