"""A real failover of Redis and a killed instance under load: what clients of the others see."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.haproxy_stage import GREEDY, ME, excess, failed, served, site_on
from tests.sentinels import Sentinels
from tests.servers import SharedServers
from tests.traffic import PATIENCE
from tests.waiting import until

pytestmark = [pytest.mark.service, pytest.mark.usefixtures("haproxy")]


ENOUGH = 30
"""Visits, of 20 a second: for longer than a circuit stays open, so that each worker had a few of them."""

LAG = 1.0
"""Seconds that a replica on the same busy machine may be behind, at most; it is milliseconds."""


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_redis_fails_over_and_an_instance_dies_at_500_requests_a_second(
    start_sentinels, shared_servers: SharedServers, tmp_path: Path
) -> None:
    """The market is answered throughout, nothing outdated; limits hold; sessions are back with Redis."""
    rig: Sentinels = start_sentinels()
    old = rig.primary
    with (
        site_on(rig.url, tmp_path, shared_servers) as site,
        site.load() as load,
    ):
        load.until_more(1500)
        site.invalidate(site.instances[0])
        before = time.monotonic()
        old.kill()
        rig.until_taken_over(old)
        died = time.monotonic()
        site.instances[2].kill()
        dead = time.monotonic()

        def all_know_the_visitor() -> bool:
            visits = [each for each in list(load.replies) if each.path == ME][-ENOUGH:]
            return all(each.status == 200 and each.sent > dead for each in visits)

        until(all_know_the_visitor, "sessions are back", PATIENCE)
        back = time.monotonic()
        site.invalidate(site.instances[1])
        load.until_more(1500)
    strangers = [each for each in failed(load.replies) if (each.path, each.status) == (ME, 401)]
    assert strangers, "without Redis there are no sessions"
    assert all(each.under_way(before, back) for each in strangers)
    others = [each for each in failed(load.replies) if each not in strangers]
    assert [each for each in others if not each.under_way(died, dead)] == []
    assert site.outdated(load.replies) == []
    late = [each for each in served(load.replies, GREEDY) if before - LAG < each.sent < before]
    assert len(excess(load.replies)) <= len(late), "only what the replica had not heard of counts no more"
    assert {each.stream.source for each in load.replies if each.status == 429} == {GREEDY}
