"""The proof of fencing on sentinels and clusters: whatever is lost or moves, nothing outdated comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.cluster import Cluster
from tests.history_check import problems
from tests.history_rig import Plan, Rig
from tests.history_sites import UNHEARD, Site, SiteFaults, lossy_plans, moving_plans
from tests.sentinels import Sentinels
from tests.servers import SharedServers
from tests.test_history import SIGNS, histories, judge

MAKERS: dict[str, Callable[[], Site]] = {"sentinels": Sentinels, "cluster": Cluster}


class SiteRig(Rig):
    """Processes that share a site."""

    def _serve(self, kind: str) -> tuple[str, Any]:
        site = MAKERS[kind]()
        self._stack.callback(site.close)
        return site.url, SiteFaults(site, self.truth)


@pytest.fixture(scope="module", params=MAKERS)
def rig(request: pytest.FixtureRequest, shared_servers: SharedServers) -> Iterator[Rig]:
    """The processes of all histories, and their site."""
    rig = SiteRig(request.param)
    shared_servers.others.append(rig)
    yield rig
    shared_servers.others.remove(rig)
    rig.close()


@pytest.fixture(scope="module")
def cluster_rig(shared_servers: SharedServers) -> Iterator[Rig]:
    """The same on a cluster."""
    rig = SiteRig("cluster")
    shared_servers.others.append(rig)
    yield rig
    shared_servers.others.remove(rig)
    rig.close()


def test_what_the_heir_has_not_heard_of(rig: Rig) -> None:
    """It is the run id that keeps it from coming back, here as on one server."""
    judge(rig, UNHEARD)
    found = problems(rig.play(replace(UNHEARD, broken=("run id",))))
    assert [line for line in found if line.startswith(SIGNS)]


@histories(2)
@given(plan=lossy_plans("kill"))
def test_a_primary_that_is_killed(rig: Rig, plan: Plan) -> None:
    """What its heir had not heard of does not come back."""
    judge(rig, plan)


@histories(2)
@given(plan=lossy_plans("pause"))
def test_a_primary_that_hangs_and_wakes(rig: Rig, plan: Plan) -> None:
    """Nor does what it still takes itself to be the primary of."""
    judge(rig, plan)


@histories(6)
@given(plan=moving_plans())
def test_a_slot_that_moves(cluster_rig: Rig, plan: Plan) -> None:
    """What is read, written and invalidated on its way is so on the other node."""
    judge(cluster_rig, plan)
