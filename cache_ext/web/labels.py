"""The tags of one call: as listed, formatted with its arguments, or from a function of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from cache_ext.errors import ConfigurationError
from cache_ext.keys import check_tags
from cache_ext.web.naming import safe_name

Tags = Sequence[str] | Callable[..., Iterable[str]]


class Labels:
    """Makes the tags of calls.

    Args:
        tags: names; one like ``user:{id}`` is formatted with the arguments. Or a function that is
            given the arguments and returns names.
        always: the tag that every call has.
        names: the parameters that a format may use.
    Raises:
        ConfigurationError: a format uses something else, or *tags* is a text.
    """

    def __init__(self, tags: Tags, always: str, names: Sequence[str]) -> None:
        self._function = tags if callable(tags) else None
        listed = (always,) if callable(tags) else check_tags((always, *check_tags(tags)))
        self._fixed = tuple(tag for tag in listed if "{" not in tag)
        self._formats = tuple(tag for tag in listed if "{" in tag)
        for text in self._formats:
            _check_format(text, names)

    def of(
        self, bound: Mapping[str, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Return the tags of the call that was bound to *bound*."""
        made = [safe_name(text.format_map(bound)) for text in self._formats]
        if self._function is not None:
            made += check_tags(self._function(*args, **kwargs))
        return (*self._fixed, *made) if made else self._fixed


def _check_format(text: str, names: Sequence[str]) -> None:
    try:
        used = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise ConfigurationError(f"the tag {text!r} is no format: {error}") from error
    for field in used:
        if field.split(".")[0].split("[")[0] not in names:
            raise ConfigurationError(f"the tag {text!r} names {field!r}; the parameters are {list(names)}")
