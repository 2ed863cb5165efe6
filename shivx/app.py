"""The application factory: settings in, a Flask application out. It alone knows both services and views."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask import Blueprint, Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from blueprints.admin import admin
from blueprints.audited import denials_to
from blueprints.auth import auth, guard_sessions
from blueprints.costs import COSTS, VIEW_LIMITS, CostTable, limit_views
from blueprints.dashboard import dashboard_of
from blueprints.documents import documents
from blueprints.entrance.once import one_time_entrance
from blueprints.entrance.pages import Entrance, login_page
from blueprints.errors import answer_outside, register_error_handlers
from blueprints.events import events
from blueprints.exposition import measure_requests
from blueprints.indicators import indicators
from blueprints.keys import keys
from blueprints.manual import manual
from blueprints.market import market
from blueprints.ml import ml
from blueprints.noted import note_views, noting_refusals
from blueprints.operations import operations
from blueprints.rights import guard
from blueprints.warming import warming
from shivx.accounts.commands import account_commands, database_commands
from shivx.audit.shell import audit_commands
from shivx.config import Settings
from shivx.edge.cors import Cors
from shivx.edge.envelope import Envelope
from shivx.front import open_front
from shivx.gate import Gate
from shivx.identity import Tier
from shivx.logs import set_up_logs
from shivx.ml.commands import model_commands
from shivx.one_time_links import OneTimeLinks, are_offered
from shivx.redaction import Redactor, secrets_of
from shivx.tracing.wanted import traces_wanted
from shivx.warming.command import add_warm_command
from shivx.wiring import Services, wire

if TYPE_CHECKING:
    from shivx.tracing.spans import Tracing

VIEWS = (market, indicators, ml, auth, keys, events, operations, admin, warming, documents)


def create_app(settings: Settings | None = None) -> Flask:
    """Return the service. It connects and starts its threads when first asked, in the process that is.

    Args:
        settings: those of the environment if not given.
    Raises:
        ConfigurationError: a setting is missing, malformed or refused.
    """
    settings = settings or Settings.from_environment()
    set_up_logs(settings.log_format, settings.log_level, Redactor(secrets_of(settings)))
    app = Flask("shivx", static_folder=None)
    services = wire(app, settings)
    register_error_handlers(app)
    measure_requests(app)
    note_views(app)
    guard(app)
    guard_sessions(app)
    for blueprint in (*VIEWS, *_pages(app, settings)):
        app.register_blueprint(blueprint)
    app.cli.add_command(account_commands())
    app.cli.add_command(database_commands())
    app.cli.add_command(model_commands())
    add_warm_command(app)
    audit_commands(app)
    limit_views(app, services.limiter, VIEW_LIMITS)
    tracing = _tracing(services)
    inner = app.wsgi_app if tracing is None else tracing.view(app.wsgi_app)
    front = open_front(inner, services.cache, answer_outside, services.cdn)
    gate = Gate(
        front if tracing is None else tracing.front(front),
        identify=services.access.identities.identify,
        limiter=services.limiter,
        limits={tier: getattr(settings, f"limit_{tier.value}") for tier in Tier},
        answer=answer_outside,
        seconds=settings.cache_op_timeout,
        cost_of=CostTable(app.url_map, COSTS).cost_of,
    )
    cors = Cors(settings.cors_origins)
    denied = noting_refusals(denials_to(services.audit), services.cache)
    app.wsgi_app = Envelope(gate, cors, denied, gate.figures)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    if tracing is not None:
        app.wsgi_app = tracing.request(app, app.wsgi_app)  # type: ignore[method-assign]
    return app


def _pages(app: Flask, settings: Settings) -> list[Blueprint]:
    """Return what people look at."""
    entrance = Entrance()
    pages = [login_page(entrance), dashboard_of(app), manual()]
    if are_offered(settings):
        pages.append(one_time_entrance(entrance, OneTimeLinks(settings.instance_dir)))
    return pages


def _tracing(services: Services) -> Tracing | None:
    """Return what makes spans, for reads and round trips already, if the environment asks for traces."""
    if not traces_wanted(os.environ):
        return None
    from shivx.tracing.spans import Tracing  # noqa: PLC0415 - what it needs is installed by who wants it

    tracing = Tracing()
    tracing.end_with(services.cache)
    tracing.reads(services.cache)
    for gateway in {id(each.gateway): each.gateway for each in (services.cache, services.state)}.values():
        tracing.redis(gateway)
    return tracing
