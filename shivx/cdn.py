"""The CDN in front, if there is one: what its settings mean, and how it is reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cache_ext import TieredCache
from cache_ext.cdn.headers import SurrogateHeaders
from cache_ext.cdn.names import FASTLY_BYTES, VARNISH_BYTES, SurrogateNames
from cache_ext.cdn.purgers import FastlyPurger, Purger, Send, VarnishPurger
from cache_ext.cdn.purging import Purging
from cache_ext.cdn.tagging import Tagged
from cache_ext.http_cache.keys import Places
from shivx.config import Settings
from shivx.providers.deadline import Deadline
from shivx.providers.http_line import BadAnswer, HttpLine

LONGEST_FETCH = 10.0
"""Seconds that the CDN is set up to wait for an answer's head; see deploy/varnish/shivx.vcl."""
ON_THE_WAY = 5.0
"""Seconds beside: connecting and the body (2), the time until every process has heard of an invalidation (1,
the bound of the backplane), and clocks and queues that nobody counts."""
PURGE_SECONDS = 5.0
"""That one request to the CDN may take."""
MAX_ANSWER_BYTES = 262_144

Application = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Cdn:
    """A CDN that keeps our answers; None in its place if there is none.

    Args:
        purging: tells it what counts no more.
        names: what tags are called towards it.
        line: the way to it.
    """

    purging: Purging
    names: SurrogateNames
    line: HttpLine

    def inside(self, app: Application) -> Application:
        """Return the views so that their answers name their tags; whatever keeps answers is around that."""
        return Tagged(app)

    def outside(self, app: Application) -> Application:
        """Return all that keeps answers, so that the CDN is told about each."""
        places = Places()
        return SurrogateHeaders(app, self.names, lambda environ: (places.of(environ).tag,))

    def close(self) -> None:
        """Close the connections; after the cache, which has the last purges sent when it closes."""
        self.line.close()


def open_cdn(settings: Settings, cache: TieredCache) -> Cdn | None:
    """Return the CDN that *settings* name. Nothing is connected or started yet."""
    if settings.cdn == "off" or settings.cdn_purge_url is None or settings.cdn_purge_token is None:
        return None
    fastly = settings.cdn == "fastly"
    names = SurrogateNames(settings.cache_namespace, FASTLY_BYTES if fastly else VARNISH_BYTES)
    kind = FastlyPurger if fastly else VarnishPurger
    token = settings.cdn_purge_token.get_secret_value()
    line = HttpLine(time.monotonic, max_body_bytes=MAX_ANSWER_BYTES)
    purger: Purger = kind(settings.cdn_purge_url, token, sender(line, time.monotonic))
    again_after = max(LONGEST_FETCH, settings.market_timeout) + ON_THE_WAY
    return Cdn(Purging(cache, names, purger, again_after=again_after), names, line)


def sender(line: HttpLine, monotonic: Callable[[], float]) -> Send:
    """Return what sends a purge on *line* within `PURGE_SECONDS` in all."""

    def send(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> int:
        try:
            return line.request(method, url, headers, body, Deadline(PURGE_SECONDS, monotonic)).status
        except BadAnswer as error:
            raise OSError(f"the CDN does not speak HTTP as it should: {error}") from error

    return send
