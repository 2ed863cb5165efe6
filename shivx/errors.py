"""What can go wrong in ShivX, told apart by what the caller should do next.

ShivxError
├── ConfigurationError       start-up only: a setting is missing, malformed or refused
├── InvalidParameter         text from a client cannot be read: which parameter, which rule
├── InvalidRequest           all that is wrong with the parameters of one request
├── NotFound                 the caller named something that does not exist
│   ├── UnknownPair          this source does not trade the pair
│   ├── UnknownToken         this source does not know the symbol
│   ├── UnknownSource        the source is not configured
│   ├── UnknownModel         there is no model, or version of one, of that name
│   └── UnknownJob           there is no job of that id, or no more
├── NotComputable            the request is well formed, this source cannot answer it
├── Refused                  the credentials that came with a request are not valid (any more)
├── Forbidden                who asks is known, and may not do this
├── Conflict                 what is there already forbids it
├── DatabaseUnavailable      no usable answer from the database; `retry_after` says when to ask again
├── ModelUnavailable         a model has no version that could answer; `retry_after` says when to ask again
├── TooManyRequests          the limit is used up
├── NotCached                nothing is stored, and the request wants nothing else
├── AuditUnavailable         what is to be done cannot be recorded, so it is not done
└── OriginError              the exchange did not give what we asked for
    ├── OriginUnavailable    down, too slow or limiting us; `retry_after` says when to ask again
    └── OriginInvalid        it answered, but with nonsense; nothing of it may be cached
"""

from __future__ import annotations

from collections.abc import Iterable


class ShivxError(Exception):
    """Base of all errors that ShivX raises on purpose."""


class ConfigurationError(ShivxError):
    """A setting is missing, malformed or refused; the message names the variable."""


class InvalidParameter(ShivxError):
    """Text that a client sent cannot be read.

    Args:
        parameter: its name, as the client knows it.
        code: which rule it breaks; `blueprints.parameters` lists them all.
        message: what is allowed, for humans.
    """

    def __init__(self, parameter: str, code: str, message: str) -> None:
        super().__init__(f"{parameter}: {message}")
        self.parameter = parameter
        self.code = code
        self.message = message


class InvalidRequest(ShivxError):
    """Parameters of a request are wrong; `errors` holds every one of them, at least one."""

    def __init__(self, errors: Iterable[InvalidParameter]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(str(error) for error in self.errors))


class NotFound(ShivxError):
    """Something that the caller named does not exist."""


class UnknownPair(NotFound):
    """The source does not trade this pair."""


class UnknownToken(NotFound):
    """The source does not know this token symbol."""


class UnknownSource(NotFound):
    """The source is not among those configured."""


class UnknownModel(NotFound):
    """There is no model, or no version of one, of this name."""


class UnknownJob(NotFound):
    """There is no job of this id, or it was over too long ago."""


class NotComputable(ShivxError):
    """A well-formed request that this source cannot answer, say a timeframe it cannot build."""


class Refused(ShivxError):
    """The credentials that came with a request are not valid: unknown, expired, revoked, or garbage."""


class Forbidden(ShivxError):
    """Who asks is known, and may not do this; the message, which clients see, says what it would need."""


class Conflict(ShivxError):
    """Something that is there already forbids it; the message, which clients see, says what."""


class DatabaseUnavailable(ShivxError):
    """The database gave no usable answer: away, too slow, full, or read-only.

    Args:
        message: what happened, without secrets.
        retry_after: seconds after which asking again makes sense, >= 0.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelUnavailable(ShivxError):
    """A model has no version that could answer: it is not trained yet, or damaged.

    Args:
        message: what happened.
        retry_after: seconds after which asking again makes sense, >= 0.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyRequests(ShivxError):
    """The limit is used up; the message, which clients see, says whose.

    Args:
        retry_after: seconds to wait; None if whoever answers says it anyway.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotCached(ShivxError):
    """Nothing is stored that answers the request, which says only-if-cached."""


class AuditUnavailable(ShivxError):
    """The audit cannot be written or read: its database is away, or a disk is full. Nothing was done."""


class OriginError(ShivxError):
    """The exchange did not give what was asked for.

    Args:
        message: what happened, without secrets; may be shown to clients.
        retry_after: seconds after which asking again makes sense, >= 0.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OriginUnavailable(OriginError):
    """The exchange is down, too slow, cut the line, or limits us."""


class OriginInvalid(OriginError):
    """The exchange answered with something that is not market data."""
