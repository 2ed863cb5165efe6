"""Which events make which facts out of date: one table, however they are emitted."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from cache_ext import Event
from shivx.errors import InvalidParameter
from shivx.names import book_tag, model_tag, pair_tag, source_tag
from shivx.pairs import parse_pair, parse_symbol


class Rule(NamedTuple):
    """What an event of one type changes.

    Args:
        subject: the field that says what it is about; a key of `SUBJECTS`.
        tags: (source, subject) -> the tags of what changes.
        changes: the same, for people.
    """

    subject: str
    tags: Callable[[str, str], Sequence[str]]
    changes: str


RULES: Mapping[str, Rule] = {
    "trade_executed": Rule(
        "pair",
        lambda source, pair: (pair_tag(source, pair),),
        "price, order book, trades, open candle, indicators and predictions of the pair",
    ),
    "order_placed": Rule(
        "pair",
        lambda source, pair: (book_tag(source, pair),),
        "order book of the pair",
    ),
    "model_retrained": Rule(
        "model",
        lambda source, model: (model_tag(model),),
        "predictions of the model",
    ),
    "token_updated": Rule(
        "symbol",
        lambda source, symbol: (source_tag(source),),
        "what the source says of its tokens",
    ),
}

_MODEL = re.compile(r"[a-z0-9_-]{1,64}")


def _model(text: str, parameter: str) -> str:
    if not _MODEL.fullmatch(text):
        raise InvalidParameter(parameter, "malformed", "1 to 64 of a-z, 0-9, _ and -")
    return text


SUBJECTS: Mapping[str, Callable[[str, str], str]] = {
    "pair": parse_pair,
    "model": _model,
    "symbol": parse_symbol,
}
"""What an event can be about, and what reads it: (text, parameter) -> the canonical form."""


class InvalidationRules:
    """The table, for those sources that are configured.

    Args:
        sources: their names; the first is meant where an event names none.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = sources

    def data_of(
        self, kind: str, fields: Mapping[str, str | None], also: Collection[str] = ()
    ) -> dict[str, str]:
        """Return what an event of type *kind* carries, in canonical form.

        Args:
            fields: pair, model, symbol and source as they were given; None for those that were not.
            also: types that are known beside those of the table; such an event may be about anything.
        Raises:
            InvalidParameter: a field is wrong, missing, or does not belong to the type.
        """
        rule = RULES.get(kind)
        if rule is None and kind not in also:
            known = ", ".join([*RULES, *sorted(set(also) - set(RULES))])
            raise InvalidParameter("type", "unknown_choice", f"one of {known}")
        data = {}
        for name, parse in SUBJECTS.items():
            given = fields.get(name)
            if given is not None:
                if rule is not None and name != rule.subject:
                    raise InvalidParameter(name, "not_allowed", f"{kind} is about a {rule.subject}")
                data[name] = parse(given, name)
            elif rule is not None and name == rule.subject:
                raise InvalidParameter(name, "required", f"{kind} is about a {name}")
        data["source"] = self._source(fields.get("source"))
        return data

    def tags_of(self, event: Event) -> Sequence[str]:
        """Return the tags of what *event* changes; none if it is not in the table.

        Raises:
            InvalidParameter: its data make no sense.
        """
        rule = RULES.get(event.name)
        if rule is None:
            return ()
        data = self.data_of(event.name, _texts(event.data))
        return rule.tags(data["source"], data[rule.subject])

    def _source(self, given: str | None) -> str:
        if given is None:
            return self._sources[0]
        if given not in self._sources:
            raise InvalidParameter("source", "unknown_source", f"one of {', '.join(self._sources)}")
        return given


def _texts(data: Any) -> dict[str, str | None]:
    """Return the fields that rules read, of what a program put into Redis."""
    if not isinstance(data, Mapping):
        raise InvalidParameter("data", "malformed", "a mapping of names to texts")
    wanted = {name: data.get(name) for name in (*SUBJECTS, "source")}
    if not all(value is None or isinstance(value, str) for value in wanted.values()):
        raise InvalidParameter("data", "malformed", "pair, model, symbol and source are texts")
    return wanted
