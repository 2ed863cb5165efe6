"""A real nginx for tests, with the configuration of deploy/: private, on a loopback port."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.processes import free_port, spawn, terminate
from tests.servers import ServerAbsent
from tests.service import ROOT
from tests.waiting import until

SHIPPED = ROOT / "deploy/nginx/shivx.conf"
DEBIAN_PROGRAM = "/usr/sbin/nginx"  # not on everybody's PATH
START_SECONDS = 15.0
ANSWER_SECONDS = 30.0
AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/shivx.conf;
}}
"""


def program_of_nginx() -> str:
    """Return where it is. Raises ServerAbsent: it is not installed."""
    found = shutil.which("nginx") or shutil.which(DEBIAN_PROGRAM)
    if found is None:
        raise ServerAbsent("no nginx on this machine: apt-get install nginx-light")
    return found


def ask(port: int, path: str, headers: Mapping[str, str], source: str = "127.0.0.1"):
    """Return the answer of whoever listens on *port* to a client at *source*."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS, source_address=(source, 0))
    try:
        line.request("GET", path, headers=dict(headers))
        with line.getresponse() as answer:
            answer.read()
            return answer
    finally:
        line.close()


@contextmanager
def nginx_before(origin: str) -> Iterator[int]:
    """Have one in front of *origin*, HOST:PORT, while the block lasts; yield its port.

    Raises:
        ServerAbsent: it is not installed.
        AssertionError: it does not like its configuration.
    """
    folder, port = Path(tempfile.mkdtemp(prefix="shivx-nginx-", dir="/tmp")), free_port()
    command = [program_of_nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    text = SHIPPED.read_text().replace("server 127.0.0.1:8000;", f"server {origin};")
    (folder / "shivx.conf").write_text(text.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    try:
        tried = subprocess.run(
            [*command, "-t"], capture_output=True, text=True, check=False, timeout=START_SECONDS
        )
        assert tried.returncode == 0, tried.stderr
        assert "[warn]" not in tried.stderr, tried.stderr
        process = spawn(command, folder / "log", on_parent_death=signal.SIGTERM)
        try:
            until(lambda: process.poll() is not None or _listens(port), "nginx listens", START_SECONDS)
            yield port
        finally:
            terminate(process)
    finally:
        shutil.rmtree(folder)


def _listens(port: int) -> bool:
    try:
        return ask(port, "/metrics", {}).status == 404
    except OSError:
        return False
