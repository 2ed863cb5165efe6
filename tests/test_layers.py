"""Imports point down the ranks, and cache, provider and HTTP meet only where the design says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.layers import Ban, ban_problems, late_import_problems, rank_problems

ROOT = Path(__file__).parent.parent

# A row a rank, lowest first; a module imports only from rows above its own. A new row needs no renumbering.
CACHE_EXT_ROWS = (
    ("testing.clock", "testing.origin", "testing.wires"),
    ("testing.relay",),
    ("testing.proxy",),
    ("testing",),
    (
        "addresses",
        "errors",
        "entry",
        "metrics",
        "transport",
        "codec",
        "stores",
        "coherence",
        "reading",
        "loading",
        "web",
        "stats",
        "explain",
    ),
    ("hooks", "limits", "sessions"),
    (
        "events",
        "transport.budget",
        "transport.greenlets",
        "codec.collisions",
        "codec.compression",
        "keys",
        "policy",
        "settings",
        "tally",
        "reading.bypass",
        "limits.decision",
        "coherence.boots",
        "coherence.reasons",
        "explain.trails",
        "explain.moments",
    ),
    (
        "limits.window",
        "transport.trips",
        "coherence.locks",
        "coherence.messages",
        "coherence.private",
        "coherence.records",
        "wanted",
        "stats.durations",
        "stats.sampling",
    ),
    ("explain.invalidations", "codec.seal", "codec.values", "hooks.event", "limits.lines", "stats.counts"),
    ("hooks.rules", "stats.minutes", "explain.answers", "loading.background"),
    ("transport.breaker", "transport.commands", "transport.pooling", "hooks.registry"),
    ("transport.greeting", "transport.watch"),
    ("transport.server",),
    ("transport.slots", "transport.ways"),
    ("transport.nodes", "transport.sentinels"),
    ("transport.cluster",),
    ("transport.finding",),
    (
        "codec.copies",
        "codec.entries",
        "codec.failures",
        "coherence.journal",
        "transport.connection",
        "reading.remembered",
        "reading.slot",
        "reading.softened",
        "stores.base",
        "stores.plans",
    ),
    ("transport.opening", "hooks.backlog", "hooks.stream", "limits.counting"),
    ("hooks.following", "explain.judging", "explain.inquiries", "explain.recalling"),
    ("hooks.running", "reading.arrivals", "reading.eviction", "reading.expiry", "limits.debts"),
    ("limits.shares",),
    ("reading.shelf", "limits.limiter"),
    ("hooks.emitting",),
    (
        "reading.near",
        "reading.frames",
        "stores.local",
        "stores.redis",
        "stores.walking",
        "transport.subscription",
    ),
    ("coherence.outbox", "coherence.backplane", "coherence.receipts", "loading.flights", "loading.upkeep"),
    ("gauges", "stats.members", "explain.memory"),
    ("coherence.effects",),
    (
        "reading.first_take",
        "reading.terms",
        "loading.late",
        "loading.loaded",
        "loading.failures",
        "parts",
        "stats.own",
    ),
    ("reading.found", "reading.fetched", "reading.known_tags"),
    ("reading.sight",),
    ("reading.reader", "reading.noting"),
    ("reading.looking", "loading.leftovers", "loading.origin"),
    ("loading.host", "loading.filling"),
    ("loading.flying",),
    ("loading.loads",),
    ("loading.refreshing", "loading.putting"),
    ("runtime",),
    ("reading.fetching", "coherence.invalidation", "coherence.preview"),
    ("engine",),
    (
        "sessions.changes",
        "sessions.cookies",
        "sessions.cross_site",
        "sessions.ids",
        "sessions.lives",
        "sessions.records",
    ),
    ("sessions.store",),
    ("sessions.reader",),
    ("sessions.session",),
    ("sessions.writer",),
    ("sessions.interface",),
    ("sessions.sessions",),
    ("stats.gathering",),
    ("stats.keys", "stats.redis_facts"),
    ("stats.report",),
    ("stats.summing", "stats.recommendations"),
    ("stats.reporting",),
    ("web.state", "explain.explaining"),
    ("opening", "web.health", "loading.updating"),
    ("testing.fixtures",),
    ("web.naming", "web.arguments", "web.responses", "web.tables"),
    ("web.labels", "web.figures", "web.explanation"),
    ("web.cli",),
    ("web.decorators",),
    ("web.views", "flask_caching", "flask_limiter"),
    ("http_cache",),
    ("http_cache.fields", "http_cache.options"),
    ("http_cache.freshness", "http_cache.request_rules", "http_cache.conditional", "http_cache.ranges"),
    ("http_cache.codings", "http_cache.recording", "http_cache.storing", "http_cache.keys"),
    (
        "http_cache.variants",
        "http_cache.stored",
        "http_cache.uncacheable",
        "http_cache.passing",
        "http_cache.resting",
    ),
    ("http_cache.making", "http_cache.answering", "http_cache.lookup"),
    ("http_cache.asking", "http_cache.selecting"),
    ("http_cache.serving",),
    ("http_cache.considering",),
    ("http_cache.door",),
    ("web.extension",),
    ("dashboard",),
    ("dashboard.assets", "dashboard.pages"),
    ("dashboard.blueprint",),
    ("cdn",),
    ("cdn.names", "cdn.purgers", "cdn.ledger", "cdn.tagging"),
    ("cdn.headers", "cdn.worker", "cdn.debts"),
    ("cdn.purging",),
    ("",),
)
CACHE_EXT_RANKS = {
    f"cache_ext.{name}".rstrip("."): rank for rank, row in enumerate(CACHE_EXT_ROWS) for name in row
}

WIRING = ("shivx.app", "shivx.cdn", "shivx.wiring", "shivx.sources")
BANS = (
    Ban(
        ("cache_ext",),
        ("shivx", "blueprints", "wsgi", "tests"),
        "anyone can use cache_ext alone; what it needs is handed in as callables",
    ),
    Ban(
        ("shivx",),
        ("blueprints", "wsgi"),
        "the core does not know HTTP; only the factory registers blueprints",
        but_importers=("shivx.app",),
    ),
    Ban(
        ("shivx.providers",),
        ("cache_ext",),
        "a provider answers, services cache",
        but_targets=("cache_ext.errors",),
    ),
    Ban(
        ("shivx", "blueprints", "wsgi"),
        ("shivx.providers",),
        "cache and provider meet in shivx.services; the wiring makes both",
        but_importers=("shivx.providers", "shivx.services", *WIRING),
    ),
    Ban(
        ("cache_ext", "shivx", "blueprints", "wsgi"),
        ("tests",),
        "the product does not need its tests",
    ),
)

# (module, imported late) -> why not at the top.
LATE_IMPORTS = {
    ("shivx", "shivx.app"): "the factory imports everything, and its parts import this package",
    ("shivx.app", "shivx.tracing.spans"): "needs packages that only who wants traces has installed",
    ("cache_ext.transport.greenlets", "gevent.hub"): "cache_ext needs no gevent; who uses it has loaded it",
    (
        "cache_ext.web.figures",
        "cache_ext.web.tables",
    ): "Rich, which one command needs; the others start sooner",
    ("shivx.accounts.database", "shivx.accounts.upgrading"): "Alembic is slow to load; few starts need it",
}


def test_cache_ext_imports_point_down_the_ranks() -> None:
    """Every module of cache_ext has a rank and imports from lower ones only."""
    assert "\n".join(rank_problems(ROOT, "cache_ext", CACHE_EXT_RANKS)) == ""


def test_packages_meet_only_where_the_design_says() -> None:
    """No import crosses a border between cache_ext, shivx, its providers, and blueprints."""
    assert "\n".join(ban_problems(ROOT, *BANS)) == ""


def test_imports_stand_at_the_top() -> None:
    """An import inside a function has a stated reason."""
    assert "\n".join(late_import_problems(ROOT, LATE_IMPORTS)) == ""


def plant(root: Path, name: str, text: str) -> None:
    """Write a module of a made-up tree; its package becomes one."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "__init__.py").touch()
    path.write_text(text)


@pytest.fixture
def pair_of_modules(tmp_path: Path) -> Path:
    """A package of two modules, of which `high` imports `low`."""
    plant(tmp_path, "cache_ext/low.py", "LOW = 1\n")
    plant(tmp_path, "cache_ext/high.py", "from cache_ext import low\nfrom cache_ext.low import LOW\n")
    return tmp_path


RANKS = {"cache_ext.low": 0, "cache_ext.high": 1, "cache_ext": 2}


def test_import_of_a_lower_rank_is_fine(pair_of_modules: Path) -> None:
    """A tree in order has no problems."""
    assert rank_problems(pair_of_modules, "cache_ext", RANKS) == []


@pytest.mark.parametrize("rank", [1, 2])
def test_import_of_the_same_or_a_higher_rank_is_seen(pair_of_modules: Path, rank: int) -> None:
    """Both ways to write the import are reported."""
    problems = rank_problems(pair_of_modules, "cache_ext", RANKS | {"cache_ext.low": rank})
    message = f"rank 1 imports cache_ext.low of rank {rank}"
    assert problems == [f"cache_ext/high.py:{line}: {message}" for line in (1, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "from . import high",
        "from .high import X",
        "import cache_ext.high",
        "if TYPE_CHECKING:\n    from cache_ext.high import X",
        "def f():\n    from cache_ext.high import X",
        "from cache_ext import X",
    ],
)
def test_every_form_of_import_is_seen(pair_of_modules: Path, text: str) -> None:
    """Relative, absolute, for types only, late, or through the package: it points up."""
    plant(pair_of_modules, "cache_ext/low.py", text)
    assert len(rank_problems(pair_of_modules, "cache_ext", RANKS)) == 1


def test_module_without_rank_is_seen(pair_of_modules: Path) -> None:
    """A new module must be given a rank."""
    plant(pair_of_modules, "cache_ext/stores/new.py", "")
    problems = rank_problems(pair_of_modules, "cache_ext", RANKS)
    assert [line.partition(" has no rank")[0].split()[-1] for line in problems] == [
        "cache_ext.stores",
        "cache_ext.stores.new",
    ]


def test_rank_without_module_is_seen(pair_of_modules: Path) -> None:
    """A removed module must leave the table."""
    problems = rank_problems(pair_of_modules, "cache_ext", RANKS | {"cache_ext.gone": 0})
    assert problems == ["cache_ext.gone has a rank, but there is no such module"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cache_ext/a.py", "import shivx.models"),
        ("cache_ext/a.py", "from blueprints import market"),
        ("shivx/models.py", "from blueprints.market import view"),
        ("shivx/providers/a.py", "from cache_ext import TieredCache"),
        ("shivx/providers/ccxt/a.py", "import cache_ext.engine"),
        ("shivx/indicators.py", "from shivx.providers.simulated import SimulatedExchange"),
        ("blueprints/market.py", "from shivx import providers"),
        ("wsgi.py", "import shivx.providers.base"),
        ("shivx/a.py", "from tests.fakes import FakeClock"),
    ],
)
def test_import_over_a_border_is_seen(tmp_path: Path, name: str, text: str) -> None:
    """Each border is guarded."""
    plant(tmp_path, "shivx/providers/base.py", "")
    plant(tmp_path, name, text)
    (problem,) = ban_problems(tmp_path, *BANS)
    assert problem.startswith(f"{name}:1: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shivx/services.py", "import cache_ext\nimport shivx.providers.base"),
        ("shivx/app.py", "import blueprints.market\nimport shivx.providers.ccxt"),
        ("shivx/providers/a.py", "from cache_ext.errors import StoreError\nimport shivx.providers.base"),
        ("blueprints/market.py", "import cache_ext\nimport shivx.services"),
        ("cache_ext/a.py", "import shivxlike"),
    ],
)
def test_import_that_the_design_wants_is_fine(tmp_path: Path, name: str, text: str) -> None:
    """What belongs together may meet."""
    plant(tmp_path, "shivx/providers/base.py", "")
    plant(tmp_path, name, text)
    assert ban_problems(tmp_path, *BANS) == []


def test_late_import_is_seen_unless_allowed(tmp_path: Path) -> None:
    """The permission is for one module and one import, and ends when nothing uses it."""
    plant(tmp_path, "shivx/a.py", "def f():\n    import ccxt\n\n\nclass A:\n    import json\n")
    permission = {("shivx.a", "ccxt"): "78 MB, only when configured"}
    assert late_import_problems(tmp_path, {}) == ["shivx/a.py:2: late import of ccxt"]
    assert late_import_problems(tmp_path, permission) == []
    plant(tmp_path, "shivx/a.py", "import ccxt\n")
    assert late_import_problems(tmp_path, permission) == ["shivx.a no longer imports ccxt late"]
