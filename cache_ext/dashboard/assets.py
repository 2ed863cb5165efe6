"""The files of pages: read once, and served under a name that changes with what is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Response, request
from werkzeug.exceptions import NotFound

KINDS = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""Of files that are served, by suffix; no other is."""
FOREVER = 31_536_000
"""Seconds, a year: what lies under a version never changes."""
VERSION_CHARACTERS = 16


class Assets:
    """The files of a folder and those below it.

    Args:
        folder: is read at once; who changes a file starts again.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in KINDS
        }
        digest = hashlib.sha256()
        for name, content in self._files.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:VERSION_CHARACTERS]
        """Changes with each file."""

    def answer(self, version: str, name: str) -> Response:
        """Return the file called *name*, which browsers may keep.

        Raises:
            NotFound: there is none, or it is of another version.
        """
        content = self._files.get(name) if version == self.version else None
        if content is None:
            raise NotFound("There is no such file.")
        response = Response(content, content_type=KINDS[Path(name).suffix])
        response.cache_control.public = True
        response.cache_control.max_age = FOREVER
        response.cache_control.immutable = True
        response.add_etag()
        response.make_conditional(request)
        return response
