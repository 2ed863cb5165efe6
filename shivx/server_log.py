"""The server's log, and that of libraries, in the form of ours: JSON, with the request's id."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

from gunicorn.glogging import Logger

from shivx.config import Settings
from shivx.logs import FIELDS, OURS, fit_out, formatter_of
from shivx.redaction import Redactor, secrets_of
from shivx.request_ids import REQUEST_ID

MAX_PATH = 200
_LIBRARIES = "libraries"
"""The name of the handler that this module gives to the root logger."""


def server_log(settings: Settings) -> type[Logger]:
    """Return the class of gunicorn's logger, for ``logger_class``.

    Args:
        settings: say in which form lines are written, and what must not stand in them.
    """
    formatter = formatter_of(settings.log_format, Redactor(secrets_of(settings)))

    class ServerLog(Logger):  # type: ignore[misc]
        """Writes gunicorn's lines as ours are."""

        def setup(self, cfg: Any) -> None:
            """Make the handlers anew, say on reload."""
            super().setup(cfg)
            for handler in (*self.error_log.handlers, *self.access_log.handlers):
                fit_out(handler, formatter)
            _follow_libraries(formatter)

        def access(self, resp: Any, req: Any, environ: Mapping[str, Any], request_time: Any) -> None:
            """Write a line for a request, if ``accesslog`` is set; without its query, which may be secret."""
            if self.access_log_enabled:
                self.access_log.info("request", extra={FIELDS: _access(resp, environ, request_time)})

    return ServerLog


def _access(resp: Any, environ: Mapping[str, Any], request_time: Any) -> dict[str, object]:
    return {
        "method": environ.get("REQUEST_METHOD", ""),
        "path": environ.get("PATH_INFO", "").encode("latin-1").decode(errors="replace")[:MAX_PATH],
        "status": int(str(resp.status).split(None, 1)[0]),
        "bytes": getattr(resp, "sent", None),
        "seconds": round(request_time.total_seconds(), 6),
        "address": environ.get("REMOTE_ADDR", ""),
        "request_id": environ.get(REQUEST_ID),
    }


def _follow_libraries(formatter: logging.Formatter) -> None:
    """Give the lines of libraries, Python's warnings, and what ends a thread, the same form."""
    root = logging.getLogger()
    for known in [each for each in root.handlers if each.name == _LIBRARIES]:
        root.removeHandler(known)
    handler = logging.StreamHandler(sys.stderr)
    handler.name = _LIBRARIES
    handler.setLevel(logging.WARNING)
    fit_out(handler, formatter)
    handler.addFilter(lambda record: record.name.split(".")[0] not in OURS)  # these have their own
    root.addHandler(handler)
    logging.captureWarnings(True)
    threading.excepthook = _log_end


def _log_end(ended: threading.ExceptHookArgs) -> None:
    """Log what ended a thread; SystemExit is a plain end."""
    if ended.exc_type is SystemExit or ended.exc_value is None:
        return
    logging.getLogger("threading").error(
        "%s ended",
        ended.thread.name if ended.thread else "a thread",
        exc_info=(ended.exc_type, ended.exc_value, ended.exc_traceback),
    )
