"""Log lines: one JSON object each, or text for people."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from typing import Literal

from shivx import native
from shivx.redaction import Redactor
from shivx.request_ids import current_request_id
from shivx.times import format_time

OURS = ("shivx", "blueprints", "cache_ext")
"""The loggers that are set up; see `shivx.server_log` for those of the server and of libraries."""
FIELDS = "fields"
"""What a record may carry, in ``extra``: a dict of further fields of its line."""
Style = Literal["json", "text"]
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, the request's id, and the traceback if there is one.

    Args:
        hide: takes secrets out of text.
    """

    def __init__(self, hide: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self._hide = hide or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line of JSON."""
        line = {
            "at": format_time(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._hide(record.getMessage()),
        }
        request_id = current_request_id()
        if request_id is not None:
            line["request_id"] = request_id
        for name, value in getattr(record, FIELDS, {}).items():
            line[name] = self._hide(value) if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = self._hide(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """Writes the same for people, the request's id in brackets.

    Args:
        hide: takes secrets out of text.
    """

    def __init__(self, hide: Callable[[str], str] | None = None) -> None:
        super().__init__(_TEXT)
        self._hide = hide or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as a line, and more of them for a traceback."""
        text = self._hide(super().format(record))
        fields = getattr(record, FIELDS, {})
        request_id = fields.get("request_id", current_request_id())
        return text if request_id is None else f"{text} [{request_id}]"


def formatter_of(style: Style, hide: Callable[[str], str] | None = None) -> logging.Formatter:
    """Return what writes lines in *style*."""
    return JsonFormatter(hide) if style == "json" else TextFormatter(hide)


def set_up_logs(style: Style, level: str, hide: Callable[[str], str] | None = None) -> None:
    """Send our log lines of *level* and graver to standard error; a second call changes style and level.

    Args:
        hide: takes secrets out of text; see `Redactor`.
    """
    formatter = formatter_of(style, hide)
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stderr))
        for handler in logger.handlers:
            fit_out(handler, formatter)


def fit_out(handler: logging.Handler, formatter: logging.Formatter) -> None:
    """Have *handler* write as *formatter* says, for greenlets and native threads alike."""
    handler.setFormatter(formatter)
    handler.lock = native.rlock()
