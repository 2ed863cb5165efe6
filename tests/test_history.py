"""The proof of fencing: real processes read and write at once, things break, and nothing outdated comes back.

`HISTORY_EXAMPLES` in the environment is the number of random histories of each sort, new ones at each run;
without it the same few run every time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.history_breaks import BREAKS
from tests.history_cases import CASES
from tests.history_check import problems
from tests.history_plans import calm_plans, stormy_plans
from tests.history_rig import Plan, Rig
from tests.servers import SharedServers

SIGNS = ("older than", "too old", "loaded twice")
"""What a broken promise is reported with; other reports are of plans that did not run as they should."""
EXAMPLES = int(os.environ.get("HISTORY_EXAMPLES", "0"))


def histories(usual: int) -> settings:
    """Return how many random plans there are. A race does not come back on demand, so nothing is shrunk."""
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def rig(shared_servers: SharedServers) -> Iterator[Rig]:
    """The processes of all histories, and their server."""
    rig = Rig("valkey")
    shared_servers.others.append(rig)
    yield rig
    shared_servers.others.remove(rig)
    rig.close()


def judge(rig: Rig, plan: Plan) -> None:
    """Play *plan* and fail if a promise was broken."""
    if found := problems(rig.play(plan)):
        pytest.fail("\n".join([*found[:5], f"{len(found)} in all, in {plan}"]), pytrace=False)


@histories(30)
@given(plan=calm_plans())
def test_nothing_outdated_is_read(rig: Rig, plan: Plan) -> None:
    """Whatever processes do at once, no read gets what an invalidation before it had outdated."""
    judge(rig, plan)


@histories(15)
@given(plan=stormy_plans())
def test_nothing_outdated_is_read_while_things_break(rig: Rig, plan: Plan) -> None:
    """Nor when connections, keys, scripts, processes and the server are lost on the way."""
    judge(rig, plan)


@pytest.mark.parametrize("fence", BREAKS)
def test_an_engine_without_this_fence_is_caught(rig: Rig, fence: str) -> None:
    """Each fence of the engine is needed: there is a history that only it keeps right."""
    plan = CASES[fence]
    judge(rig, plan)
    found = problems(rig.play(replace(plan, broken=(fence,))))
    assert [line for line in found if line.startswith(SIGNS)]
