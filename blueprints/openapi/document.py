"""The document: made once, of the routes that the application has and what `operations` says of them.

Source: OpenAPI 3.1.1; its schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from blueprints.asked import PAIR_PATTERN, SOURCE, Asked
from blueprints.openapi import headers as told
from blueprints.openapi.operations import ADMINS, ANYBODY, EVENTS, OPERATIONS, PEOPLE, TEXT, Operation
from blueprints.openapi.shapes import Problem
from blueprints.problems import KINDS, document
from shivx.front import COVERED
from shivx.jobs.record import Job
from shivx.version import VERSION
from shivx.wiring import services_of

VERSION_OF_FORMAT = "3.1.1"
JSON, PROBLEM = "application/json", "application/problem+json"
REF = "#/components/{kind}/{name}"
_EXAMPLES = Path(__file__).with_name("examples.json")
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")
_ANY = ("unauthenticated", "rate_limited", "unavailable")
"""What any request to the API may meet: bad credentials, the limit, nobody to judge these by."""
SESSION = "session"
_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`shx_…`"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, or for /metrics its token."},
    SESSION: {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": "Set by login; over HTTPS its name is `__Host-session`.",
    },
}
_RIGHTS = {
    ADMINS: "For admins: a key with the scope `admin`, or a session.",
    EVENTS: "For services and admins: a key with the scope `events`.",
}
_ARGUMENTS: Mapping[str, tuple[str, Mapping[str, Any], object]] = {
    "pair": ("BASE-QUOTE, in any case.", {"type": "string", "pattern": PAIR_PATTERN}, "BTC-USDC"),
    "symbol": ("A currency.", {"type": "string", "maxLength": 32}, "BTC"),
    "name": ("A model.", {"type": "string"}, "direction"),
    "job": ("Of the 202 that began it.", {"type": "string"}, "direction-5f0c9a3be1d24786"),
    "session": ("Of the list of sessions.", {"type": "string"}, "0123456789abcdef0123456789abcdef"),
    "key": ("Of the list of keys.", {"type": "integer", "minimum": 1}, 7),
    "code": ("The end of a problem's `type`.", {"type": "string"}, "unknown_pair"),
}


def document_of(app: Flask) -> bytes:
    """Return the document of *app* as JSON."""
    schemas = _schemas()
    examples: Mapping[str, Any] = json.loads(_EXAMPLES.read_bytes())
    paths: dict[str, dict[str, Any]] = {}
    sources = services_of(app).market.sources
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        operation = OPERATIONS.get(rule.endpoint)
        if operation is not None:
            method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"})).lower()
            view = app.view_functions[rule.endpoint]
            described = _operation(rule, operation, view.__doc__ or "", sources, examples.get(operation.id))
            paths.setdefault(_ARGUMENT.sub(r"{\1}", rule.rule), {})[method] = described
    return msgspec.json.encode(
        {
            "openapi": VERSION_OF_FORMAT,
            "info": {
                "title": "ShivX",
                "version": VERSION,
                "summary": "Market data, indicators and predictions, from a cache before an exchange.",
                "description": "Fields are only ever added. Errors are RFC 9457 problem documents.",
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": tag} for tag in dict.fromkeys(_tag(each) for each in OPERATIONS)],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "headers": _headers(),
                "examples": _examples(),
                "securitySchemes": _SCHEMES,
            },
        }
    )


def _schemas() -> dict[str, Any]:
    types: list[Any] = [Problem]
    for operation in OPERATIONS.values():
        types += [*_shapes(operation), *([operation.body] if operation.body else [])]
    ref = REF.format(kind="schemas", name="{name}")
    _, found = msgspec.json.schema_components(types, ref_template=ref)
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(schema: Any) -> Any:
    """Return *schema* without ``items: false`` of pairs: `maxItems` says it too, and generators know that."""
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if (name, value) != ("items", False)}
        return {name: _plain(value) for name, value in kept.items()}
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _headers() -> dict[str, Any]:
    return {
        name: {"description": says, "schema": schema, "example": example}
        for name, (says, schema, example) in told.HEADERS.items()
    }


def _tag(endpoint: str) -> str:
    return endpoint.partition(".")[0]


def _shapes(operation: Operation) -> list[Any]:
    answer = operation.answer
    if answer is None or isinstance(answer, str):
        return []
    return list(answer) if isinstance(answer, tuple) else [answer]


def _operation(
    rule: Rule, operation: Operation, says: str, sources: Iterable[str], example: object
) -> dict[str, Any]:
    summary, _, more = says.strip().partition("\n")
    right = _RIGHTS.get(operation.rights, "")
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [_tag(rule.endpoint)],
        "summary": summary.rstrip(".:"),
        "description": " ".join([*more.split(), right]).strip() or summary,
        "parameters": [*map(_argument, _ARGUMENT.findall(rule.rule)), *_query(operation, sources)],
        "responses": dict(_responses(rule, operation, example)),
    }
    if operation.body is not None:
        content = {JSON: {"schema": _ref(operation.body)}}
        described["requestBody"] = {"content": content, "required": not operation.optional}
    if rule.rule.startswith("/api/"):
        schemes: list[dict[str, list[str]]] = [
            {name: []} for name in _SCHEMES if operation.rights != PEOPLE or name == SESSION
        ]
        described["security"] = [{}, *schemes] if operation.rights == ANYBODY else schemes
    if operation.id == "getMetrics":
        described["security"] = [{}, {"bearer": []}]
    return described


def _argument(name: str) -> dict[str, Any]:
    says, schema, example = _ARGUMENTS[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": says,
        "schema": schema,
        "example": example,
    }


def _query(operation: Operation, sources: Iterable[str]) -> Iterator[dict[str, Any]]:
    for each in operation.query:
        if isinstance(each, str):
            schema: Mapping[str, Any] = {"type": "string", "enum": list(sources)}
            each = Asked(SOURCE, "Which market; the first if left out.", schema, lambda query: None)  # noqa: PLW2901
        described: dict[str, Any] = {"name": each.name, "in": "query", "description": each.says}
        described |= {"required": each.required, "schema": each.schema}
        yield described | ({} if each.example is None else {"example": each.example})


def _responses(rule: Rule, operation: Operation, example: object) -> Iterator[tuple[str, dict[str, Any]]]:
    limited = rule.rule.startswith("/api/")
    names = (*told.EVERY, *(told.LIMITED if limited else ()))
    door = told.OF_DOOR if rule.rule.startswith(COVERED) else ()
    kept = operation.headers if operation.cached else (*told.PRIVATE, *door)
    begun = ("Location",) if operation.answer is Job and operation.status == HTTPStatus.ACCEPTED else ()
    for status in (operation.status, *operation.also):
        yield (
            str(status),
            _response(status, (*names, *kept, *begun, *operation.more), _content(operation, example)),
        )
    if operation.cached:
        yield "304", _response(304, (*names, *operation.headers), None)
    if operation.query:
        html = {"text/html": {"schema": {"type": "string"}}}
        yield "414", {"description": "The request line has more than 8190 bytes", "content": html}
    for status, codes in sorted(_problems(operation, limited).items()):
        if status not in operation.also:
            own = (*told.OF_STATUS.get(status, ()), *told.PRIVATE, *door)
            yield str(status), _response(status, (*names, *own), _wrong(operation, codes))


def _problems(operation: Operation, limited: bool) -> dict[int, list[str]]:
    """Return the codes of what may go wrong, by status."""
    codes = [*operation.problems, *(_ANY if limited else ()), "invalid_request", "internal_error"]
    codes += ["forbidden"] if operation.rights != ANYBODY else []
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(KINDS[code].status, []).append(code)
    return found


def _wrong(operation: Operation, codes: Iterable[str]) -> dict[str, Any]:
    """Return what an answer says that something went wrong; of a batch perhaps with each item."""
    examples = {code: {"$ref": REF.format(kind="examples", name=code)} for code in codes}
    content: dict[str, Any] = {PROBLEM: {"schema": _ref(Problem), "examples": examples}}
    if "errors" in getattr(operation.answer, "__struct_fields__", ()):
        content[JSON] = {"schema": _ref(operation.answer)}
    return content


def _content(operation: Operation, example: object) -> dict[str, Any] | None:
    if operation.answer is None:
        return None
    if operation.answer == TEXT:
        return {TEXT: {"schema": {"type": "string"}}}
    refs = [_ref(each) for each in _shapes(operation)]
    body: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}
    return {JSON: body | ({} if example is None else {"example": example})}


def _response(status: int, names: Iterable[str], content: dict[str, Any] | None) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": {name: {"$ref": REF.format(kind="headers", name=name)} for name in dict.fromkeys(names)},
    }
    return described if content is None else described | {"content": content}


def _examples() -> dict[str, Any]:
    return {code: {"summary": kind.title, "value": document(code)} for code, kind in KINDS.items()}


def _ref(kind: Any) -> dict[str, Any]:
    if kind is dict:
        return {"type": "object"}
    return {"$ref": REF.format(kind="schemas", name=kind.__name__)}
