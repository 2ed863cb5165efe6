"""The proof of fencing on sentinels and clusters: whatever is lost or moves, nothing outdated comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from tests.cluster import PRIMARIES, Cluster
from tests.history_check import problems
from tests.history_rig import Plan, Rig
from tests.history_sites import PARTED, UNHEARD, Site, SiteFaults, lossy_plans, moving_plans, near_node
from tests.namespaces import Partition, Side
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


PARTED_MAKERS: dict[str, tuple[Callable[[Side, Side], Site], str]] = {
    "sentinels": (lambda near, far: Sentinels(near=near, far=far), "majority"),
    "cluster": (
        lambda near, far: Cluster(sides=[near if at == near_node() else far for at in range(2 * PRIMARIES)]),
        "every node",
    ),
}
"""Sites in two networks, and the fence that a partition needs."""


class PartedRig(Rig):
    """Processes that share a site in two networks; the first is on the side of the first primary."""

    def _serve(self, kind: str) -> tuple[str, Any]:
        self._partition = Partition()
        self._stack.callback(self._partition.close)
        site = PARTED_MAKERS[kind][0](self._partition.near, self._partition.far)
        self._stack.callback(site.close)
        return site.url, SiteFaults(site, self.truth, self._partition)

    def _enter(self, number: int) -> Sequence[str]:
        return (self._partition.far if number else self._partition.near).enter


def parted(shared_servers: SharedServers, kind: str, *broken: str) -> list[str]:
    """Return what is wrong with the history of a partition; afterwards its sides have changed roles."""
    with closing(PartedRig(kind)) as rig:
        shared_servers.others.append(rig)
        found = problems(rig.play(replace(PARTED, broken=broken)))
        shared_servers.others.remove(rig)
    return found


@pytest.mark.namespaces
@pytest.mark.parametrize("kind", PARTED_MAKERS)
def test_a_partition(shared_servers: SharedServers, kind: str) -> None:
    """Who is cut off together with the old primary stops trusting it; what lies there does not come back."""
    assert parted(shared_servers, kind) == []
    found = parted(shared_servers, kind, PARTED_MAKERS[kind][1])
    assert [line for line in found if line.startswith(SIGNS)]


def test_what_the_heir_has_not_heard_of(rig: Rig) -> None:
    """It is the run id that keeps it from coming back, here as on one server."""
    judge(rig, UNHEARD)
    found = problems(rig.play(replace(UNHEARD, broken=("run id",))))
    assert [line for line in found if line.startswith(SIGNS)]


@histories(1)
@given(plan=lossy_plans("kill"))
def test_a_primary_that_is_killed(rig: Rig, plan: Plan) -> None:
    """What its heir had not heard of does not come back."""
    judge(rig, plan)


@histories(1)
@given(plan=lossy_plans("pause"))
def test_a_primary_that_hangs_and_wakes(rig: Rig, plan: Plan) -> None:
    """Nor does what it still takes itself to be the primary of."""
    judge(rig, plan)


@histories(6)
@given(plan=moving_plans())
def test_a_slot_that_moves(cluster_rig: Rig, plan: Plan) -> None:
    """What is read, written and invalidated on its way is so on the other node."""
    judge(cluster_rig, plan)
