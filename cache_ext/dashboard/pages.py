"""Pages: files with places into which text is put, so that nothing of it is taken for HTML."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template

from flask import Response


def page(path: Path, **texts: str) -> Response:
    """Return the page at *path*, which nobody may store, with *texts* in the places that ``$name`` marks."""
    shown = Template(path.read_text()).substitute({name: escape(text) for name, text in texts.items()})
    response = Response(shown, content_type="text/html; charset=utf-8")
    response.cache_control.no_store = True
    return response
