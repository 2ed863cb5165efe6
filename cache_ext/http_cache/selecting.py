"""Which stored response of a URL suits a request, where Vary tells several apart; and how many may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cache_ext.http_cache.fields import Headers
from cache_ext.http_cache.keys import Place
from cache_ext.http_cache.lookup import Lookup, Tags, response_of
from cache_ext.http_cache.stored import StoredResponse
from cache_ext.http_cache.variants import choice_of, digest_of, vary_names
from cache_ext.reading.found import Found

_REMEMBERED = 4_096
"""URLs whose variants are counted."""
_COUNTED_FOR = 600.0
"""Seconds for which a variant counts, or for as long as it lies if that is longer."""


class Selector:
    """Selects stored responses.

    The first that comes lies at the URL's own key, and tells which request fields select. Those of other
    choices lie beside it, each under a name that its choice gives it. All carry the URL's tag but the first,
    which is deleted by its key.

    Args:
        lookup: where they lie.
        most: variants of one URL that this process stores.
    """

    def __init__(self, lookup: Lookup, most: int) -> None:
        self._lookup = lookup
        self._most = most
        self._stored: dict[str, dict[str, float]] = {}

    def select(self, environ: Mapping[str, Any], place: Place) -> tuple[str, Tags, Found]:
        """Return the key where what suits the request lies or is to lie, its tags, and what there is."""
        found = self._lookup.find(place.key, ())
        first = response_of(found.slot)
        if first is None or is_chosen(first, environ):
            return place.key, (), found
        names = first.parts.vary
        key = f"{place.key}:{digest_of(names, choice_of(environ, names))}"
        tags = (place.tag,)
        return key, tags, self._lookup.find(key, tags)

    def admits(self, key: str, environ: Mapping[str, Any], headers: Headers, seconds: float) -> bool:
        """Tell whether there is room for one more variant of the URL at *key*, and count it.

        Args:
            seconds: for which it lies, 0 until that is known.
        """
        names = vary_names(headers)
        if not names:
            return True
        now = self._lookup.now()
        if key not in self._stored and len(self._stored) >= _REMEMBERED:
            self._stored.clear()
        known = self._stored.setdefault(key, {})
        digest = digest_of(names, choice_of(environ, names))
        if digest not in known and len(known) >= self._most:
            known = self._stored[key] = {each: until for each, until in known.items() if now < until}
            if len(known) >= self._most:
                return False
        known[digest] = max(known.get(digest, 0.0), now + max(seconds, _COUNTED_FOR))
        return True


def is_chosen(stored: StoredResponse, environ: Mapping[str, Any]) -> bool:
    """Tell whether the request says what *stored* was selected by (RFC 9111, section 4.1)."""
    parts = stored.parts
    return not parts.vary or choice_of(environ, parts.vary) == parts.choice
