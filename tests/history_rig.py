"""The processes of a history and their server: started once, then given plan after plan."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache_ext.keys import KeySpace
from tests.history_faults import PROXIED, Faults
from tests.history_keys import NAMES
from tests.history_truth import Truth
from tests.processes import DIE_WITH_PARENT
from tests.servers import RunningServer

MEMBERS = 3
PATIENCE = 40.0
"""Seconds that a process has for its part of a plan."""
ROOT = Path(__file__).parent.parent
SETTINGS = {"op_timeout": 1.0, "breaker_cooldown": 0.1, "host": False}


@dataclass(frozen=True)
class Plan:
    """What happens in one history.

    Args:
        members: per process, per thread, the steps it does (see `history_actor`).
        faults: what happens to the server and the processes meanwhile, in this order.
        reborn: what a process does that was killed and started again, per thread.
        broken: the fences that the engine lacks.
        settings: of the caches.
    """

    members: Sequence[Sequence[Sequence[Any]]]
    faults: Sequence[Sequence[Any]] = ()
    reborn: Mapping[int, Sequence[Sequence[Any]]] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


class Member:
    """One process, seen from outside."""

    def __init__(self, number: int, folder: Path, enter: Sequence[str] = ()) -> None:
        self.events = folder / f"events-{number}"
        self.log = folder / f"log-{number}"
        command = [sys.executable, "-m", "tests.history_member", str(number), str(folder)]
        launcher = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            DIE_WITH_PARENT,
            str(os.getpid()),
            str(int(signal.SIGKILL)),
        ]
        self.events.touch()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*launcher, *enter, *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
            )

    def tell(self, line: str) -> None:
        """Send *line*."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, word: str) -> None:
        """Return when the process says *word*.

        Raises:
            RuntimeError: it says something else, or nothing, or is gone; the message has its log.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.send_signal(signal.SIGUSR1)  # it writes where its threads stand
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(1.0)
        elif self.process.stdout.readline().decode().strip() == word:
            return
        raise RuntimeError(f"not {word!r} from {self.process.args}:\n{self.log.read_text()[-6000:]}")

    def end(self) -> None:
        """Kill it; harmless if it is gone."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()


class Rig:
    """A server of its own and `MEMBERS` processes. Use from the main thread.

    Args:
        kind: of the server.
    """

    def __init__(self, kind: str) -> None:
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="history-")))
        self.truth = Truth(self.folder / "truth", NAMES)
        self._stack.callback(self.truth.close)
        self.url, self._faults = self._serve(kind)
        self._members: list[Member] = []
        self._stack.callback(lambda: [member.end() for member in self._members])
        self._members = [Member(number, self.folder, self._enter(number)) for number in range(MEMBERS)]
        for member in self._members:
            member.expect("here")

    def _serve(self, kind: str) -> tuple[str, Any]:
        """Return where the processes find Redis, and what plays faults on it."""
        server = RunningServer(kind)
        self._stack.callback(server.close)
        faults = Faults(server, self.truth)
        self._stack.callback(faults.close)
        return server.unix_url, faults

    def _enter(self, number: int) -> Sequence[str]:
        """Return what stands in front of the command of process *number*."""
        return ()

    @property
    def pids(self) -> Iterator[int]:
        """The numbers of the processes."""
        yield from (member.process.pid for member in self._members)
        yield from self._faults.pids

    def close(self) -> None:
        """End everything."""
        self._stack.close()

    def play(self, plan: Plan) -> list[dict[str, Any]]:
        """Let *plan* happen and return what the processes noted."""
        self.truth.lower_flags()
        self.truth.forget_receipt()
        for member in self._members:
            os.truncate(member.events, 0)
        namespace = f"history-{secrets.token_hex(4)}"
        try:
            self._begin(range(MEMBERS), plan, namespace, plan.members)
            for fault in plan.faults:
                if fault[0] == "kill":
                    self._kill(*fault[1:], plan, namespace)
                else:
                    self._faults.strike(KeySpace(namespace), *fault)
            for member in self._members:
                member.expect("done")
        except BaseException:
            for number in range(MEMBERS):
                self._replace(number)
            raise
        finally:
            self._faults.hang_up()
        lines = [line for member in self._members for line in member.events.read_text().splitlines()]
        return [json.loads(line) for line in lines] + [
            {"what": "fault", "fault": each} for each in plan.faults
        ]

    def _begin(self, numbers: Iterable[int], plan: Plan, namespace: str, parts: Sequence[Any]) -> None:
        """Let processes *numbers* open a cache of *namespace*, then all at once do their *parts*."""
        proxied = any(fault[0] in PROXIED for fault in plan.faults)
        orders = {
            "namespace": namespace,
            "members": parts,
            "broken": plan.broken,
            "settings": {**SETTINGS, **plan.settings},
        }
        for number in numbers:
            url = self._faults.line(number) if proxied else self.url
            self._members[number].tell(json.dumps({**orders, "url": url}))
        for number in numbers:
            self._members[number].expect("ready")
        for number in numbers:
            self._members[number].tell("go")

    def _kill(self, number: int, plan: Plan, namespace: str) -> None:
        """Kill process *number* where it stands, and have another one play its second part."""
        self._replace(number)
        self._begin([number], plan, namespace, [plan.reborn.get(each, [[]]) for each in range(MEMBERS)])

    def _replace(self, number: int) -> None:
        self._members[number].end()
        self._members[number] = Member(number, self.folder, self._enter(number))
        self._members[number].expect("here")
