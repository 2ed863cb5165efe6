"""How the service is: what answers, what does not, and what that means for those who use it."""

from __future__ import annotations

from sqlalchemy import text

from cache_ext.web.health import Status, judge, origins_known, store_answers
from shivx.errors import DatabaseUnavailable
from shivx.wiring import Services

EFFECTS = {
    "redis": "each process serves its copies for some seconds more and then asks the origin",
    "limits": "each host admits its own share of what is left",
    "sessions": "who comes with a session is anonymous, and a login says 503; API keys go on",
    "backplane": "each read asks Redis whether its copy still counts",
    "database": "accounts and API keys that are not cached are unknown",
}
"""What is so while a part does not answer."""
ORIGIN_EFFECT = "stale values are served, marked, as long as their policy allows"


class Health:
    """A look at all parts of the service, as this process sees them.

    Args:
        services: of the application.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self.redis = store_answers(services.cache)
        self.state = self.redis if services.state is services.cache else store_answers(services.state)
        self.origins = origins_known(services.cache, ask_store=self.redis)
        for name in services.providers:
            self.origins.setdefault(name, True)

    @property
    def status(self) -> Status:
        """Healthy, degraded or unhealthy."""
        status = judge(self.redis, self.origins)
        return Status.DEGRADED if status is Status.HEALTHY and not self.state else status

    def details(self) -> dict[str, object]:
        """Return what each part is, and what is so while one is away; looks at the database too."""
        parts = {
            "redis": self.redis,
            "limits": self.state,
            "sessions": self.state,
            "backplane": self._hears(),
            "database": self._database_answers(),
        }
        away = [{"part": name, "effect": EFFECTS[name]} for name, answers in parts.items() if not answers]
        away += [
            {"part": f"origin {name}", "effect": ORIGIN_EFFECT}
            for name, answers in self.origins.items()
            if not answers
        ]
        return {**parts, "origins": self.origins, "degraded": away}

    def _hears(self) -> bool:
        """Tell whether this process hears of invalidations, or has nobody to hear them from."""
        cache = self._services.cache
        if cache.gateway is None or not cache.settings.pubsub:
            return True
        return cache.runtime.monotonic() < cache.runtime.trust.live_until

    def _database_answers(self) -> bool:
        try:
            self._services.access.database.read(lambda session: session.execute(text("SELECT 1")).scalar())
        except DatabaseUnavailable:
            return False
        return True
