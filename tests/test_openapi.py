"""/openapi.json: the API as it is, all of it, valid, and true of what the service answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from blueprints.openapi.headers import EVERY, LIMITED, OF_STATUS
from blueprints.openapi.operations import ADMINS, OPERATIONS
from blueprints.openapi.table import rows
from blueprints.parameters import Query
from blueprints.problems import KINDS
from blueprints.rights import ADMINS as DEMANDED
from blueprints.rights import demand_of
from cache_ext import cache_of
from shivx import create_app
from shivx.config import Settings
from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.market_stage import Site
from tests.openapi_tour import EXAMPLES, opened, tour
from tests.service import ROOT

CONTRACT = {
    *("listPairs", "getPrice", "getPrices", "getOrderBook", "listCandles", "listTrades", "getToken"),
    *("listIndicators", "getIndicators", "getCorrelation", "listModels", "getPrediction", "getPredictions"),
    *("retrainModel", "getJob", "cancelJob", "postEvents", "login", "logout", "getMe"),
}
PAGES = {"/admin/cache", "/admin/login", "/docs"}
"""What people look at, and what lies below: no part of the API."""
USUAL_HEADERS = {"Content-Type", "Content-Length", "Date", "Referrer-Policy", "X-Frame-Options"}
"""Of any answer, or of what browsers take for a page: an empty one too."""
SOMETIMES = {"Set-Cookie", "Vary"}
"""Headers of operations that may change the session, or of answers that may be compressed."""
LOCAL = {"once.enter"}
"""Routes that only a service of one's own has."""
METHODS = {"get", "post", "put", "patch", "delete"}
GIVEN = {"pairs": "BTC-USDC,ETH-USDC", "key": "k"}
"""Values of parameters that are required."""


@pytest.fixture(scope="module")
def server_kind() -> str:
    """Which server keeps the jobs makes no difference."""
    return "valkey"


@pytest.fixture
def site(redis_url: str, namespace: str, tmp_path: Path) -> Iterator[Site]:
    """The application, with models and an admin."""
    with opened(redis_url, namespace, tmp_path) as made:
        yield made


@pytest.fixture
def document(site: Site) -> dict[str, Any]:
    """The document."""
    found: dict[str, Any] = site.get("/openapi.json").json
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation."""
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            yield path, method, item[method]


def faults(document: dict[str, Any], schema: dict[str, Any], told: Any) -> list[str]:
    """Return what *told* has that a *schema* of the *document* does not allow."""
    whole = {"components": document["components"], "allOf": [schema]}
    return [
        f"{list(error.path)}: {error.message[:200]}"
        for error in Draft202012Validator(whole).iter_errors(told)
    ]


def test_it_is_valid(document: dict[str, Any]) -> None:
    """By the specification of OpenAPI 3.1, each schema by that of JSON Schema."""
    assert document["openapi"].startswith("3.1.")
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_it_has_every_route_and_no_other(site: Site, document: dict[str, Any]) -> None:
    """A new route needs a line in blueprints/openapi/operations.py and a visit in tests/openapi_tour.py."""
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in site.app.url_map.iter_rules()
        if not any(rule.rule == page or rule.rule.startswith(f"{page}/") for page in PAGES)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in operations(document)} == routes
    assert OPERATIONS.keys() - LOCAL <= {rule.endpoint for rule in site.app.url_map.iter_rules()}


def test_a_service_of_ones_own_tells_of_its_own_way_in(tmp_path: Path) -> None:
    """In development, with the embedded Redis, on loopback; the document is valid there too."""
    app = create_app(Settings.from_environment({"SHIVX_INSTANCE_DIR": str(tmp_path)}, None))
    told = app.test_client().get("/openapi.json").json
    assert told["paths"]["/api/auth/once"]["post"]["operationId"] == "loginOnce"
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []
    cache_of(app).close()


def test_operations_have_the_names_of_the_contract(document: dict[str, Any]) -> None:
    """Each its own."""
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert set(ids) >= CONTRACT


def test_who_may_is_what_the_views_demand(site: Site) -> None:
    """An operation for admins is one whose view lets nobody else in, and the other way round."""
    views = site.app.view_functions
    guarded = {name for name in OPERATIONS if demand_of(views.get(name)) == DEMANDED}
    assert {name for name, operation in OPERATIONS.items() if operation.rights == ADMINS} == guarded


def wrong_values(schema: dict[str, Any]) -> Iterator[str]:
    """Yield values that *schema* does not allow."""
    if "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1)
    if "enum" in schema:
        yield "none-of-them"
    if schema.get("type") == "boolean":
        yield "perhaps"
    if schema.get("type") == "integer":
        yield from (str(schema["minimum"] - 1), str(schema["maximum"] + 1), "1.5")
    if "oneOf" in schema:
        yield "yesterday"


def right_values(schema: dict[str, Any]) -> Iterator[str]:
    """Yield values at the border of what *schema* allows."""
    yield from map(str, schema.get("enum", ()))
    if schema.get("type") == "boolean":
        yield from ("true", "false")
    if schema.get("type") == "integer":
        yield from (str(schema["minimum"]), str(schema["maximum"]), str(schema["default"]))


def refused(site: Site, path: str, parameters: dict[str, str], headers: dict[str, str]) -> list[str]:
    """Ask, and return the parameters that are refused."""
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    answer = site.get(f"{path}?{query}", headers=headers)
    return [each["parameter"] for each in answer.json["errors"]] if answer.status_code == 400 else []


def too_long(site: Site, path: str, parameters: dict[str, str], headers: dict[str, str]) -> bool:
    """Ask, and tell whether something is refused for its length alone."""
    answer = site.get(path, query_string=parameters, headers=headers)
    return "too_long" in [each["code"] for each in answer.json.get("errors", [])]


def test_what_it_says_of_parameters_is_how_views_read_them(site: Site, document: dict[str, Any]) -> None:
    """What is outside is refused by name, what is at the border is not, and nothing else is taken."""
    root = site.app.test_client()
    root.post("/api/auth/login", json={"username": "root", "password": PASSWORD})
    made = root.post("/api/auth/keys", json={"name": "k", "scopes": ["read", "keys", "admin"]}).json
    headers = {"X-API-Key": made["key"]}
    tried = 0
    for path, method, operation in operations(document):
        asked = [each for each in operation["parameters"] if each["in"] == "query"]
        if (
            method != "get" or not path.startswith("/api/") or path.endswith("/health")
        ):  # which takes anything
            continue
        at = path.format(pair="BTC-USDC", symbol="BTC", job="direction-5f0c9a3be1d24786")
        needed = {each["name"]: GIVEN[each["name"]] for each in asked if each["required"]}
        needed |= {"key": "k"} if path.endswith("/explain") else {}
        assert refused(site, at, needed | {"surprise": "1"}, headers) == ["surprise"], path
        for each in asked:
            name, schema = each["name"], each["schema"]
            others = {key: value for key, value in needed.items() if key != "key" or name == "key"}
            for value in wrong_values(schema):
                assert name in refused(site, at, others | {name: value}, headers), (path, name, value)
                tried += 1
            if most := schema.get("maxLength"):
                assert not too_long(site, at, others | {name: "x" * most}, headers), (path, name)
                assert too_long(site, at, others | {name: "x" * (most + 1)}, headers), (path, name)
            for value in right_values(schema):
                assert refused(site, at, others | {name: value}, headers) == [], (path, name, value)
    assert tried > 50


def test_answers_are_as_it_says(site: Site, document: dict[str, Any]) -> None:
    """Each operation's status, shape and headers; nothing is answered that is not in the shape."""
    by_id = {operation["operationId"]: operation for _, _, operation in operations(document)}
    kept = {operation.id for operation in OPERATIONS.values() if operation.cached}
    visited = set()
    for name, response in tour(site):
        visited.add(name)
        described = by_id[name]["responses"][str(response.status_code)]
        if content := described.get("content"):
            body = content[response.mimetype]
            if response.is_json and name != "getDocument":
                assert faults(document, body["schema"], response.json) == [], name
                assert unknown(document, body["schema"], response.json) == [], name
        else:
            assert response.data == b"", name
        assert undescribed(document, by_id[name], response) == [], name
        promised = described["headers"].keys()
        assert [header for header in promised - SOMETIMES if header not in response.headers] == [], name
        if name in kept:
            path = response.request.full_path.removesuffix("?")
            again = site.get(path, headers={"If-None-Match": response.headers["ETag"]})
            assert again.status_code in (200, 304)  # 200: it is another by now
            assert "304" in by_id[name]["responses"], name
        else:
            assert "304" not in by_id[name]["responses"], name
    assert visited == set(by_id)


def unknown(document: dict[str, Any], schema: dict[str, Any], told: Any) -> list[str]:
    """Return the fields of *told*, at any depth, that its *schema* does not name."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        return min((unknown(document, each, told) for each in schema["anyOf"] if fits(each, told)), key=len)
    if isinstance(told, list):
        return [name for each in told for name in unknown(document, schema.get("items") or {}, each)]
    if not isinstance(told, dict) or not schema.keys() & {"properties", "additionalProperties"}:
        return []
    named, others = schema.get("properties", {}), schema.get("additionalProperties", False)
    found = []
    for name, value in told.items():
        inner = named.get(name, others)
        found += [name] if inner is False else unknown(document, {} if inner is True else inner, value)
    return found


def fits(schema: dict[str, Any], told: Any) -> bool:
    """Tell whether *told* is of the kind that *schema* is of: an object where that is one, and so on."""
    kind = schema.get("type", "object" if "$ref" in schema else None)
    return {"object": dict, "array": list}.get(kind, object) in type(told).__mro__ or kind is None


def undescribed(document: dict[str, Any], operation: dict[str, Any], response: Any) -> list[str]:
    """Return the headers of *response* that are not described, but for those of any HTTP answer."""
    described = operation["responses"][str(response.status_code)]["headers"]
    assert described.keys() <= document["components"]["headers"].keys()
    return sorted(set(response.headers.keys()) - described.keys() - USUAL_HEADERS)


def test_who_asks_says_so_as_it_says(site: Site, document: dict[str, Any]) -> None:
    """Without credentials 401 where they are demanded, and nowhere else; each scheme is one that lets in."""
    schemes = document["components"]["securitySchemes"]
    for path, method, operation in operations(document):
        if path.startswith("/api/") and operation["operationId"] != "login":
            at = path.format(pair="BTC-USDC", symbol="BTC", name="direction", job="x", session="x", key=1)
            demanded = {} not in operation["security"]
            assert (site.client.open(at, method=method).status_code == 401) == demanded, path
    root = site.app.test_client()
    root.post("/api/auth/login", json={"username": "root", "password": PASSWORD})
    key = root.post("/api/auth/keys", json={"name": "k", "scopes": ["read", "keys"]}).json["key"]
    assert root.get_cookie(schemes["session"]["name"]) is not None
    ways = {"key": {schemes["key"]["name"]: key}, "bearer": {"Authorization": f"Bearer {key}"}}
    for scheme, headers in ways.items():
        for path, method, operation in operations(document):
            if operation["operationId"] in ("getMe", "listKeys", "listSessions"):
                answer = site.client.open(path, method=method, headers=headers)
                assert (answer.status_code == 200) == ({scheme: []} in operation["security"]), path
    asked = site.client.get("/metrics", environ_base={"REMOTE_ADDR": "198.51.100.7"}).www_authenticate
    assert document["paths"]["/metrics"]["get"]["security"] == [{}, {asked.type: []}]


def test_the_page_lists_all_operations(document: dict[str, Any]) -> None:
    """docs/api.md has what ``python -m blueprints.openapi.table`` prints."""
    assert "\n".join(["", *rows(document), ""]) in (ROOT / "docs/api.md").read_text()


def test_what_is_left_out_is_what_it_says() -> None:
    """A default in the document is what a view reads that is not told."""
    declared = [each for operation in OPERATIONS.values() for each in operation.query]
    with_default = [each for each in declared if not isinstance(each, str) and "default" in each.schema]
    assert len(with_default) > 10
    for each in with_default:
        assert each.read(Query({"QUERY_STRING": "", "PATH_INFO": "/"})) == each.schema["default"], each.name


def test_what_is_refused_before_a_view_is_as_it_says(site: Site, document: dict[str, Any]) -> None:
    """Bodies of the wrong kind or size, bad credentials, too many requests: status, shape and headers."""
    price = document["paths"]["/api/market/price/{pair}"]["get"]
    login = document["paths"]["/api/auth/login"]["post"]
    site.app.wsgi_app._app._limits[Tier.ANONYMOUS] = 4
    ask = site.client.post
    for expected, operation, answer in (
        (415, login, ask("/api/auth/login", data="x")),
        (413, login, ask("/api/auth/login", data=b"x" * 20_000, content_type="application/json")),
        (401, login, ask("/api/auth/login", json={"username": "root", "password": "no"})),
        (401, price, site.get("/api/market/price/BTC-USDC", headers={"X-API-Key": "shx_no"})),
        (429, price, site.get("/api/market/price/BTC-USDC")),
    ):
        assert answer.status_code == expected
        described = operation["responses"][str(expected)]
        assert faults(document, described["content"][answer.mimetype]["schema"], answer.json) == []
        assert undescribed(document, operation, answer) == []
        needed = [*EVERY, *LIMITED, *OF_STATUS.get(expected, ())]
        assert [name for name in needed if name not in answer.headers] == [], expected
        assert [name for name in needed if name not in described["headers"]] == [], expected


def test_problems_are_as_it_says(site: Site, document: dict[str, Any]) -> None:
    """Each kind has an example that the schema allows; what really goes wrong is described where it does."""
    problem = {"$ref": "#/components/schemas/Problem"}
    for code in KINDS:
        assert faults(document, problem, document["components"]["examples"][code]["value"]) == []
    for path, operation, code in (
        ("/api/market/price/NO-PAIR", "/api/market/price/{pair}", "unknown_pair"),
        ("/api/market/price/BTC-USDC?x=1", "/api/market/price/{pair}", "invalid_request"),
        ("/api/market/tokens/NOTHING", "/api/market/tokens/{symbol}", "unknown_token"),
        ("/api/admin/audit", "/api/admin/audit", "unauthenticated"),
        ("/problems/none", "/problems/{code}", "not_found"),
    ):
        answer = site.get(path)
        described = document["paths"][operation]["get"]["responses"][str(answer.status_code)]["content"]
        assert code in described[answer.mimetype]["examples"]
        assert answer.json["code"] == code
        assert faults(document, problem, answer.json) == []


def test_each_answer_has_an_example(document: dict[str, Any]) -> None:
    """Of what the service really said, in the shape that is described."""
    recorded = json.loads(EXAMPLES.read_text())
    for _, _, operation in operations(document):
        success = min(operation["responses"])
        body = operation["responses"][success].get("content", {}).get("application/json")
        if body is not None and operation["operationId"] != "getDocument":
            assert body["example"] == recorded[operation["operationId"]]
            assert faults(document, body["schema"], body["example"]) == []


def test_browsers_and_clients_keep_it(site: Site) -> None:
    """It has a validator, and asking again gets 304."""
    first = site.get("/openapi.json")
    again = site.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.headers["Cache-Control"], again.status_code, again.data) == (
        "public, max-age=300",
        304,
        b"",
    )
