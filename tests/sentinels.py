"""Real Sentinels for tests: a primary, its replicas, three who watch them, and what is done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from tests.certificates import Certificates
from tests.namespaces import HERE, Side
from tests.servers import RunningServer
from tests.waiting import until

SERVICE = "shivx-test"
SENTINELS = 3
QUORUM = 2
FORMING_SECONDS = 60.0  # on a busy machine; it takes well below 1
DEBUG = {
    "info-period": 100,
    "ping-period": 400,
    "ask-period": 100,
    "publish-period": 500,
    "tilt-trigger": 60_000,
}
"""How often sentinels ask, milliseconds: more often than usual, for the sake of haste, with limits.

A replica whose answer is older than five `ping-period` is not promoted, and once the primary is down it is
asked each second. A server that says it is primary is demoted after four `publish-period`: less than a
promotion takes must not be, or the promoted replica is.
`tilt-trigger` is the delay of a sentinel itself after which it does nothing for 30 s: on a machine that is
busy with tests it would be met by chance.
"""


class RunningSentinel(RunningServer):
    """One Sentinel. Its configuration is written once: started again it knows what it knew when it ended.

    Args:
        watched: the primary and its replicas.
        lines: of the configuration, about the service.
        password: that it asks its own clients and the other sentinels for; none if empty.
    """

    def __init__(
        self,
        kind: str,
        lines: tuple[str, ...],
        password: str = "",
        tls: Certificates | None = None,
        side: Side = HERE,
    ) -> None:
        self._lines = lines
        super().__init__(kind, password=password, tls=tls, side=side)

    def start(self) -> None:
        """Start it, at the same addresses; return when it answers, and asks as often as `DEBUG` says."""
        super().start()
        _order(self, " ".join(["SENTINEL DEBUG", *(f"{name} {value}" for name, value in DEBUG.items())]))

    def _command(self) -> list[str]:
        file = self.directory / "sentinel.conf"
        if not file.exists():
            options = self._listening()
            pairs = [" ".join(words) for words in zip(options[::2], options[1::2], strict=True)]
            secret = [f"requirepass {self.password}"] if self.password else []
            given = [
                f"bind {self.side.host}",
                "protected-mode no",
                f"unixsocket {self._socket_path}",
                *secret,
                *self._lines,
            ]
            file.write_text("\n".join([*(pair.removeprefix("--") for pair in pairs), *given, ""]))
        return [self._binary, str(file), "--sentinel"]


class Sentinels:
    """Three sentinels over one primary and its replicas; two must agree that the primary is down.

    The servers are `RunningServer`s: `kill`, `stop`, `pause`, `resume` and `start` them as such. Nothing is
    saved, so a primary that is started again before a replica has taken over is empty, and empties its
    replicas. Use from the main thread.

    Args:
        kind: of server, one of `tests.servers.KINDS`; TLS needs ``redis``.
        replicas: how many, at least 1.
        password: of the servers; none if empty.
        user: whom clients come as, with that password; the default user if empty.
        sentinel_password: of the sentinels; none if empty.
        tls: what all of them show to clients and one another.
        down_after_ms: milliseconds without answer after which a sentinel thinks that a server is down.
        failover_timeout_ms: milliseconds that a failover may take; twice that later another one may begin.
        options: further options of each server, say ``"--maxmemory", "10mb"``.
        near: where the primary and the first sentinel are.
        far: where the others are.
    """

    def __init__(
        self,
        kind: str = "valkey",
        *options: str,
        replicas: int = 1,
        password: str = "",
        user: str = "",
        sentinel_password: str = "",
        tls: Certificates | None = None,
        down_after_ms: int = 500,
        failover_timeout_ms: int = 2_000,
        near: Side = HERE,
        far: Side = HERE,
    ) -> None:
        self.password, self.user, self.sentinel_password = password, user, sentinel_password
        self.tls = tls
        self.servers: list[RunningServer] = []
        self.sentinels: list[RunningSentinel] = []
        granted = ("--user", user, "on", f">{password}", "~*", "&*", "+@all") if user else ()
        haste = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *options, *granted)
        lines = (
            f"sentinel monitor {SERVICE} {near.host} {{port}} {QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} {failover_timeout_ms}",
            *((f"sentinel auth-pass {SERVICE} {password}",) if password else ()),
            *((f"sentinel sentinel-pass {sentinel_password}",) if sentinel_password else ()),
        )
        try:
            for side in (near, *[far] * replicas):
                self.servers.append(RunningServer(kind, *haste, password=password, tls=tls, side=side))
            for replica in self.servers[1:]:
                _order(replica, f"REPLICAOF {near.host} {self.servers[0].port}")
            known = tuple(line.format(port=self.servers[0].port) for line in lines)
            for side in (near, *[far] * (SENTINELS - 1)):
                self.sentinels.append(RunningSentinel(kind, known, sentinel_password, tls, side))
            self.until_healthy()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address: all sentinels, the service, and how clients come to the servers."""
        secret = f"{quote(self.user)}:{quote(self.password, safe='')}@" if self.password else ""
        places = ",".join(f"{each.side.host}:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{secret}{places}/{SERVICE}"

    @property
    def pids(self) -> frozenset[int]:
        """The numbers of the processes, as `SharedServers.others` asks for them."""
        return frozenset().union(*(each.pids for each in (*self.servers, *self.sentinels)))

    @property
    def primary(self) -> RunningServer:
        """The primary that most sentinels name, be it down.

        Raises:
            LookupError: no two of them agree.
        """
        named = [self.named_by(each) for each in _awake(self.sentinels)]
        for server in self.servers:
            if named.count(server) >= QUORUM:
                return server
        raise LookupError("sentinels disagree")

    @property
    def replicas(self) -> list[RunningServer]:
        """All servers but the primary, be they down."""
        primary = self.primary
        return [server for server in self.servers if server is not primary]

    def fail_over(self) -> RunningServer:
        """Have a sentinel make a replica the primary; return it when all know."""
        old, sentinel = self.primary, _awake(self.sentinels)[0]
        until(
            lambda: sentinel.ask(f"SENTINEL FAILOVER {SERVICE}") == b"+OK",
            "a replica is good enough",
            FORMING_SECONDS,
        )
        return self.until_taken_over(old)

    def until_taken_over(self, old: RunningServer) -> RunningServer:
        """Wait until all sentinels that run name another primary than *old*, which is one; return it."""

        def replaced() -> bool:
            named = {self.named_by(each) for each in _awake(self.sentinels)}
            return len(named) == 1 and named.isdisjoint({old}) and _role(*named) == "master"

        until(replaced, f"{old.port} is replaced", FORMING_SECONDS)
        return self.primary

    def until_healthy(self) -> None:
        """Wait until sentinels know one another, and all servers that run follow the primary they name."""
        until(self._is_healthy, "all follow one primary", FORMING_SECONDS)

    def close(self) -> None:
        """End all sentinels and servers."""
        for each in (*self.sentinels, *self.servers):
            each.close()

    def named_by(self, sentinel: RunningServer) -> RunningServer:
        """Return what *sentinel* takes for the primary."""
        with sentinel.client() as client:
            _, port = client.sentinel_get_master_addr_by_name(SERVICE)
        return next(server for server in self.servers if server.port == port)

    def _is_healthy(self) -> bool:
        running = {server.port for server in _awake(self.servers)}
        primaries = set()
        for sentinel in _awake(self.sentinels):
            with sentinel.client() as client:
                told = client.sentinel_master(SERVICE)
                replicas = client.sentinel_slaves(SERVICE)
            if (told["num-other-sentinels"], told["flags"]) != (SENTINELS - 1, "master"):
                return False
            good = {each["port"] for each in replicas if each["flags"] == "slave"}
            if not running <= {told["port"], *good}:
                return False
            primaries.add(told["port"])
        return len(primaries) == 1 and all(self._follows(each, *primaries) for each in _awake(self.servers))

    def _follows(self, server: RunningServer, primary: int) -> bool:
        with server.client() as client:
            told: dict[str, Any] = client.info("replication")
        if server.port == primary:
            return bool(told["role"] == "master")
        return (told.get("master_port"), told.get("master_link_status")) == (primary, "up")


def _awake(servers: Sequence[RunningServer]) -> list[RunningServer]:
    return [each for each in servers if each.running and not each.paused]


def _role(server: RunningServer) -> str:
    with server.client() as client:
        return str(client.info("replication")["role"])


def _order(server: RunningServer, command: str) -> None:
    answer = server.ask(command)
    if answer != b"+OK":
        raise RuntimeError(f"{command}: {answer!r}")
