"""Log lines: one JSON object each, or text for people."""

from __future__ import annotations

import json
import logging
import sys
from typing import Literal

from shivx.times import format_time

OURS = ("shivx", "blueprints", "cache_ext")
"""The loggers that are set up; those of the server and of libraries stay as they are."""
_TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger and message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line of JSON."""
        line = {
            "at": format_time(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logs(style: Literal["json", "text"], level: str) -> None:
    """Send our log lines of *level* and graver to standard error; a second call changes style and level."""
    formatter = JsonFormatter() if style == "json" else logging.Formatter(_TEXT)
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(level.upper())
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler(sys.stderr))
        for handler in logger.handlers:
            handler.setFormatter(formatter)
