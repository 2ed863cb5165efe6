"""Bodies of requests: JSON of a known shape and bounded size, or a problem that says what is wrong."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from shivx.errors import InvalidParameter, InvalidRequest

BodyT = TypeVar("BodyT", bound=msgspec.Struct)

MAX_BODY_BYTES = 16_384
_DEEP = "nested too deeply"


def read_json(request: Request, kind: type[BodyT], max_bytes: int = MAX_BODY_BYTES) -> BodyT:
    """Return the body of *request* as a *kind*, which says what may be in it (`msgspec.Meta`).

    Raises:
        UnsupportedMediaType: it is not announced as JSON.
        RequestEntityTooLarge: it has more than *max_bytes* bytes.
        InvalidRequest: it is no JSON, or not of that shape. No value of it is in the message.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("The body is to be application/json.")
    request.max_content_length = max_bytes + 1  # a body in chunks is cut there without a word
    body = request.get_data()
    if len(body) > max_bytes:
        raise RequestEntityTooLarge
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError:
        wrong = InvalidParameter("body", "malformed", _DEEP)
    except UnicodeDecodeError:
        wrong = InvalidParameter("body", "not_utf8", "JSON is UTF-8")
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        wrong = InvalidParameter(place.strip("`.").split("[")[0] or "body", "malformed", reason)
    except msgspec.DecodeError:
        wrong = InvalidParameter("body", "malformed", "not JSON")
    raise InvalidRequest([wrong])
