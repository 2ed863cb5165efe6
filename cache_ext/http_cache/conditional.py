"""Validators: when is 304 the answer, and when does a range count. Source: RFC 9110, 8.8.3 and 13."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cache_ext.http_cache.fields import http_date

_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_LIST = re.compile(rf"[ \t,]*(?:{_TAG.pattern}[ \t]*(?:,[ \t,]*|\Z))+\Z")
_WEAK = "W/"
_STRONG_AFTER = 1.0
"""Seconds from the last change to the response, from which on a date tells versions apart (8.8.2.2)."""


@lru_cache(1024)
def entity_tags(value: str) -> frozenset[str]:
    """Return the tags that If-None-Match lists, without their ``W/``; of one that is malformed, none."""
    if not _LIST.match(value):
        return frozenset()
    return frozenset(opaque(tag) for tag in _TAG.findall(value))


def opaque(tag: str) -> str:
    """Return what is compared of an entity tag when weakness does not count."""
    return tag.removeprefix(_WEAK)


def is_entity_tag(value: str) -> bool:
    """Tell whether *value* is one entity tag."""
    return _TAG.fullmatch(value) is not None


def is_current(environ: Mapping[str, Any], tag: str, modified: float) -> bool:
    """Tell whether the client of a GET or HEAD has the response already, so that 304 is the answer.

    Args:
        tag: of the selected response, "" if it has none.
        modified: when it last changed, Unix time; if that is not known, when it was made.
    Source: RFC 9110, sections 13.1.2, 13.1.3 and 13.2.2; RFC 9111, section 4.3.2.
    """
    listed = environ.get("HTTP_IF_NONE_MATCH")
    if listed is not None:
        if tag and listed == tag:  # what nearly all send
            return True
        return listed.strip() == "*" or (tag != "" and opaque(tag) in entity_tags(listed))
    since = http_date(environ.get("HTTP_IF_MODIFIED_SINCE", ""))
    return since is not None and modified <= since


def range_applies(if_range: str | None, tag: str, last_modified: str, made: float) -> bool:
    """Tell whether a Range counts, by its If-Range: what the client has is exactly this version.

    Args:
        tag: of the selected response.
        last_modified: its Last-Modified, "" if it has none.
        made: its Date, Unix time.
    Source: RFC 9110, section 13.1.5: strong comparison, and an exact date.
    """
    if if_range is None:
        return True
    if is_entity_tag(if_range):
        return if_range == tag and not tag.startswith(_WEAK)
    changed = http_date(last_modified)
    return changed is not None and if_range == last_modified and made - changed >= _STRONG_AFTER
