"""C proxies as response caches before the service, for the same hit: nginx and Varnish, where installed."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.door_servers import Server
from benchmarks.stage import wait_for
from tests.nginx import AROUND, program_of_nginx
from tests.processes import free_port, processes, spawn, terminate
from tests.servers import ServerAbsent
from tests.varnish import Varnish

NGINX = """
proxy_cache_path {folder}/cache keys_zone=door:1m;
keepalive_requests 1000000;
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://127.0.0.1:{origin};
        proxy_cache door;
        add_header X-Proxy $upstream_cache_status;
    }}
}}
"""


@contextmanager
def proxies(folder: Path, origin: int) -> Iterator[dict[str, Server | str]]:
    """Run each before the server at port *origin* while the block lasts; yield it, or why it is not there."""
    found: dict[str, Server | str] = {}
    with ExitStack() as stack:
        for name, start in (("nginx", _nginx), ("Varnish", _varnish)):
            try:
                found[name] = stack.enter_context(start(folder, origin))
            except ServerAbsent as absent:
                found[name] = str(absent)
        yield found


@contextmanager
def _nginx(folder: Path, origin: int) -> Iterator[Server]:
    own, port = folder / "nginx", free_port()
    own.mkdir()
    (own / "nginx.conf").write_text(AROUND.format(folder=own))
    (own / "shivx.conf").write_text(NGINX.format(folder=own, port=port, origin=origin))
    command = [program_of_nginx(), "-p", str(own), "-c", str(own / "nginx.conf"), "-e", "stderr"]
    process = spawn(command, own / "log", on_parent_death=signal.SIGTERM)
    try:
        server = Server(port, (process.pid,))
        wait_for(lambda: "HIT" in _told(server, "X-Proxy"), "nginx answers from its cache")
        yield server
    finally:
        terminate(process)
        shutil.rmtree(own)


@contextmanager
def _varnish(folder: Path, origin: int) -> Iterator[Server]:
    varnish = Varnish(f"http://127.0.0.1:{origin}", "no-purge-while-measuring")
    try:
        family = {each.pid for each in processes() if {each.pid, each.parent} & varnish.pids}
        server = Server(varnish.port, tuple(family))
        wait_for(lambda: "HIT" in _told(server, "X-Cache"), "Varnish answers from its cache")
        yield server
    finally:
        varnish.close()


def _told(server: Server, header: str) -> str:
    """Return a header of an answer, "" while there is none."""
    try:
        _, headers, _ = server.get()
    except OSError:
        return ""
    return headers.get(header, "")
