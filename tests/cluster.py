"""A real Redis Cluster for tests: three primaries and three replicas on loopback, and what is done to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from tests.certificates import Certificates
from tests.namespaces import HERE, Side
from tests.processes import free_port
from tests.servers import START_TRIES, RunningServer
from tests.waiting import until

PRIMARIES = 3
FORMING_SECONDS = 60.0  # on a busy machine; it takes about 3
FORMING_TIMEOUT_MS = 500
"""Node timeout in milliseconds while the cluster forms. Nodes accept writes only after one, up to 5 s."""
CALM_TIMEOUT_MS = 15_000
"""Node timeout in milliseconds of a cluster in which nothing is to fail, however busy the machine is."""
CARRY_TIMEOUT_MS = 5_000
MOST_CARRIED = 1_000  # keys of a slot
Block = tuple[RunningServer, list[RunningServer], list[tuple[int, int]]]
"""A primary, be it down, its replicas that are up, and its ranges of slots: as a node tells."""


def slot_of(key: str) -> int:
    """Return the slot of *key*, from 0 to 16383."""
    return key_slot(key.encode())


class Cluster:
    """Six nodes: the first three are primaries at first, the others replicate them in turn.

    A node is a `RunningServer`: `kill`, `stop`, `pause`, `resume` and `start` it as such. Nothing is saved,
    so a primary that is started again before a replica has taken over is empty, and empties its replica.
    Use from the main thread.

    Args:
        kind: of server, one of `tests.servers.KINDS`.
        options: further options of each node, say ``"--maxmemory", "10mb"``.
        node_timeout_ms: milliseconds without answer after which nodes think that one is down; about twice
            that later a replica has taken over.
        full_coverage: whether all slots are refused as soon as one has no node.
        password: that nodes ask clients and one another for; none if empty.
        sides: where each node is.
        tls: what nodes show to clients and one another.
    """

    def __init__(
        self,
        kind: str = "valkey",
        *options: str,
        node_timeout_ms: int = 1_000,
        full_coverage: bool = True,
        password: str = "",
        sides: Sequence[Side] = (HERE,) * (2 * PRIMARIES),
        tls: Certificates | None = None,
    ) -> None:
        self.tls = tls
        self.password = password
        self.nodes: list[RunningServer] = []
        settings = {
            "cluster-enabled": "yes",
            "cluster-node-timeout": str(FORMING_TIMEOUT_MS),
            "cluster-require-full-coverage": "yes" if full_coverage else "no",
            "cluster-replica-validity-factor": "0",  # a replica stands for election, however old its data
            "cluster-allow-replica-migration": "no",  # who replicates whom changes by failover only
            "repl-diskless-sync-delay": "0",
        }
        encrypted = ("--tls-cluster", "yes", "--tls-replication", "yes") if tls else ()
        fixed = [word for name, value in settings.items() for word in (f"--{name}", value)]
        try:
            self.nodes += [
                _node(kind, *fixed, *encrypted, *options, password=password, side=side, tls=tls)
                for side in sides
            ]
            self._form()
            for node in self.nodes:
                node.ask(f"CONFIG SET cluster-node-timeout {node_timeout_ms}")
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address, with two of the nodes and the password in it."""
        secret = f":{self.password}@" if self.password else ""
        scheme = "rediss+cluster" if self.tls else "redis+cluster"
        return f"{scheme}://{secret}" + ",".join(f"{node.side.host}:{node.port}" for node in self.nodes[:2])

    @property
    def pids(self) -> frozenset[int]:
        """The numbers of the processes, as `SharedServers.others` asks for them."""
        return frozenset().union(*(node.pids for node in self.nodes))

    @property
    def primaries(self) -> list[RunningServer]:
        """The nodes that own slots now, in the order of their first slot."""
        return [primary for primary, _, _ in self.shape()]

    def shape(self, seen_by: RunningServer | None = None) -> list[Block]:
        """Return who owns what and who replicates whom, as *seen_by* (None: any that runs) tells."""
        with (seen_by or self._awake()[0]).client() as client:
            rows: dict[str, dict[str, Any]] = client.cluster("NODES")
        told = [
            ({**each, "flags": each["flags"].split(",")}, self.at(int(address.rpartition(":")[2])))
            for address, each in rows.items()
            if "handshake" not in each["flags"]
        ]
        blocks = [
            (
                primary,
                [
                    node
                    for other, node in told
                    if other["master_id"] == each["node_id"] and "fail" not in other["flags"]
                ],
                sorted((int(pair[0]), int(pair[-1])) for pair in each["slots"]),
            )
            for each, primary in told
            if each["slots"]
        ]
        return sorted(blocks, key=lambda block: block[2])

    def at(self, port: int) -> RunningServer:
        """Return the node that listens on *port*."""
        return next(node for node in self.nodes if node.port == port)

    def primary_of(self, key: str | int, seen_by: RunningServer | None = None) -> RunningServer:
        """Return the node that owns *key*, or the slot of that number, as *seen_by* (None: any) tells."""
        return self._block_of(key, seen_by)[0]

    def replicas_of(self, key: str | int) -> list[RunningServer]:
        """Return the nodes that replicate the owner of *key*, or of the slot of that number."""
        return self._block_of(key)[1]

    def key_on(self, node: RunningServer, stem: str = "key") -> str:
        """Return a key, beginning with *stem*, that *node* owns."""
        ranges = next(ranges for primary, _, ranges in self.shape() if primary is node)
        keys = (f"{stem}:{number}" for number in range(REDIS_CLUSTER_HASH_SLOTS))
        return next(key for key in keys if any(a <= slot_of(key) <= b for a, b in ranges))

    def fail_over(self, key: str | int) -> RunningServer:
        """Let a replica take over from the owner of *key*, which loses nothing; return the new owner."""
        old, (replica, *_), _ = self._block_of(key)
        asked = replica.ask("CLUSTER FAILOVER")
        if asked != b"+OK":
            raise RuntimeError(f"no failover: {asked!r}")
        return self.until_taken_over(key, old)

    def until_taken_over(self, key: str | int, old: RunningServer) -> RunningServer:
        """Wait until another node than *old* owns *key* and all that run know; return it."""
        until(
            lambda: all(self._block_of(key, node)[0] is not old for node in self._awake()),
            f"{old.port} is replaced",
            FORMING_SECONDS,
        )
        return self.primary_of(key)

    def until_known_down(self, key: str | int) -> None:
        """Wait until all nodes that run think that the owner of *key* is down, as most primaries do."""
        until(
            lambda: all(self._owner_is_down(key, node) for node in self._awake()),
            "all know that the node is down",
            FORMING_SECONDS,
        )

    def until_healthy(self) -> None:
        """Wait until all nodes that run think that all is well and replicas have what their primary has."""
        until(self._is_healthy, "the cluster is healthy", FORMING_SECONDS)

    def begin_move(self, key: str | int, target: RunningServer) -> None:
        """Let the slot of *key* begin to move: for what its owner lacks from now on it answers ASK."""
        slot, source = _slot(key), self.primary_of(key)
        _order(target, f"CLUSTER SETSLOT {slot} IMPORTING {self.name_of(source)}")
        _order(source, f"CLUSTER SETSLOT {slot} MIGRATING {self.name_of(target)}")

    def carry(self, key: str | int, target: RunningServer) -> int:
        """Move what is in the moving slot of *key* to *target*; return how many keys that were."""
        secret = ("AUTH", self.password) if self.password else ()
        with self.primary_of(key).client() as source:
            keys = source.execute_command("CLUSTER GETKEYSINSLOT", _slot(key), MOST_CARRIED)
            if keys:
                words = (CARRY_TIMEOUT_MS, *secret, "KEYS", *keys)
                source.execute_command("MIGRATE", target.side.host, target.port, "", 0, *words)
        return len(keys)

    def end_move(self, key: str | int, target: RunningServer) -> None:
        """Give the slot of *key* to *target*: its old owner answers MOVED. All nodes know on return."""
        source = self.primary_of(key)
        for node in (target, source):
            _order(node, f"CLUSTER SETSLOT {_slot(key)} NODE {self.name_of(target)}")
        until(
            lambda: all(self._block_of(key, node)[0] is target for node in self._awake()),
            "all know the new owner",
            FORMING_SECONDS,
        )

    def move(self, key: str | int, target: RunningServer) -> None:
        """Move the slot of *key*, with what is in it, to *target*."""
        self.begin_move(key, target)
        self.carry(key, target)
        self.end_move(key, target)

    def name_of(self, node: RunningServer) -> str:
        """Return the id that *node* has in the cluster."""
        with node.client() as client:
            return str(client.execute_command("CLUSTER MYID"))

    def empty(self) -> None:
        """Remove all keys."""
        for primary in self.primaries:
            _order(primary, "FLUSHALL")

    def close(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.close()

    def _block_of(self, key: str | int, seen_by: RunningServer | None = None) -> Block:
        slot = _slot(key)
        for block in self.shape(seen_by):
            if any(first <= slot <= last for first, last in block[2]):
                return block
        raise LookupError(f"no node owns slot {slot}")

    def _owner_is_down(self, key: str | int, seen_by: RunningServer) -> bool:
        owner = self._block_of(key, seen_by)[0]
        with seen_by.client() as client:
            rows: dict[str, dict[str, Any]] = client.cluster("NODES")
        return any(
            "fail" in each["flags"].split(",")
            for address, each in rows.items()
            if address.endswith(f":{owner.port}")
        )

    def _awake(self) -> list[RunningServer]:
        return [node for node in self.nodes if node.running and not node.paused]

    def _form(self) -> None:
        share = REDIS_CLUSTER_HASH_SLOTS / PRIMARIES
        for number, node in enumerate(self.nodes):
            _order(node, f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
            if number < PRIMARIES:
                first, last = round(number * share), round((number + 1) * share) - 1
                _order(node, f"CLUSTER ADDSLOTSRANGE {first} {last}")
        for number, node in enumerate(self.nodes):
            for other in self.nodes[number + 1 :]:
                _order(node, f"CLUSTER MEET {other.side.host} {other.port} {_bus_port(other)}")
        for number, replica in enumerate(self.nodes[PRIMARIES:]):
            name = self.name_of(self.nodes[number])
            until(
                lambda replica=replica, name=name: replica.ask(f"CLUSTER REPLICATE {name}") == b"+OK",
                "the replica knows its primary",
                FORMING_SECONDS,
            )
        until(
            lambda: len(self.shape()) == PRIMARIES and self._is_healthy(),
            "the cluster forms",
            FORMING_SECONDS,
        )

    def _is_healthy(self) -> bool:
        awake = self._awake()
        shape = self.shape()
        if sum(len(replicas) + 1 for _, replicas, _ in shape) != len(awake):
            return False
        return all(_is_well(node) and self.shape(node) == shape for node in awake)


def _node(kind: str, *options: str, password: str, side: Side, tls: Certificates | None) -> RunningServer:
    """Return a node, on a free port and with another for the other nodes."""
    for tries_left in reversed(range(START_TRIES)):
        bus = ("--cluster-port", str(free_port()))
        try:
            return RunningServer(kind, *bus, *options, password=password, side=side, tls=tls)
        except RuntimeError as error:
            if tries_left == 0 or "cluster bus" not in str(error):
                raise
    raise AssertionError("unreachable")


def _bus_port(node: RunningServer) -> int:
    with node.client() as client:
        return int(client.config_get("cluster-port")["cluster-port"])


def _is_well(node: RunningServer) -> bool:
    with node.client() as client:
        told = client.cluster("INFO")
        if (told["cluster_state"], told["cluster_known_nodes"]) != ("ok", str(2 * PRIMARIES)):
            return False
        return client.info("replication").get("master_link_status", "up") == "up"


def _order(node: RunningServer, command: str) -> None:
    answer = node.ask(command)
    if answer != b"+OK":
        raise RuntimeError(f"{command}: {answer!r}")


def _slot(key: str | int) -> int:
    return key if isinstance(key, int) else slot_of(key)
