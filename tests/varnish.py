"""A real Varnish for tests, with the VCL of deploy/: private, on a loopback port, gone with pytest."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from tests.processes import free_port, spawn
from tests.servers import ServerAbsent
from tests.waiting import until

VCL = Path(__file__).parent.parent / "deploy/varnish/shivx.vcl"
TOKEN_FILE = "/etc/varnish/shivx-purge-token"
BACKEND = '    .host = "127.0.0.1";\n    .port = "8000";\n'
DEBIAN_PROGRAM = "/usr/sbin/varnishd"  # not on everybody's PATH
XKEY = "/usr/lib/*/varnish/vmods/libvmod_xkey.so"
START_SECONDS = 30.0  # it compiles the VCL with gcc
STOP_SECONDS = 10.0
ANSWER_SECONDS = 30.0


def find_program() -> str:
    """Return where varnishd is.

    Raises:
        ServerAbsent: it, or its module xkey, is not installed.
    """
    found = shutil.which("varnishd") or shutil.which(DEBIAN_PROGRAM)
    if found is None or not list(Path("/").glob(XKEY[1:])):
        raise ServerAbsent("no Varnish with xkey on this machine: apt-get install varnish varnish-modules")
    return found


class Varnish:
    """A Varnish in front of the HTTP server at an address. Use from the main thread.

    Args:
        origin: what it is in front of, http://HOST:PORT.
        token: that purges must have.
    Raises:
        ServerAbsent: it is not installed.
    """

    def __init__(self, origin: str, token: str) -> None:
        self._program = find_program()
        self.port = free_port()
        self.directory = Path(tempfile.mkdtemp(prefix="shivx-varnish-", dir="/tmp"))
        self.directory.chmod(0o755)  # its worker may be another user
        (self.directory / "token").write_text(f"{token}\n")
        (self.directory / "test.vcl").write_text(self._vcl(origin))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address, without slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pids(self) -> frozenset[int]:
        """The number of the process that pytest started, while it runs."""
        return frozenset() if self._process is None else frozenset({self._process.pid})

    def start(self) -> None:
        """Start it, empty, and return when it answers."""
        log = self.directory / "varnish.log"
        self._process = spawn(self._command(), log, on_parent_death=signal.SIGTERM)
        until(self._answers_or_ended, "Varnish answers", START_SECONDS)
        if self._process.poll() is not None:
            raise RuntimeError(f"Varnish did not start:\n{log.read_text()}")

    def stop(self) -> None:
        """End it; its port refuses from then on."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop()
        shutil.rmtree(self.directory)

    def _vcl(self, origin: str) -> str:
        """Return the VCL of deploy/, with nothing changed but where the origin and the token are."""
        text, place = VCL.read_text(), urlsplit(origin)
        backend = f'    .host = "{place.hostname}";\n    .port = "{place.port}";\n'
        for old, new in ((BACKEND, backend), (TOKEN_FILE, str(self.directory / "token"))):
            if text.count(old) != 1:
                raise RuntimeError(f"not once in {VCL}: {old!r}")
            text = text.replace(old, new)
        return text

    def _command(self) -> list[str]:
        address = ["-a", f"127.0.0.1:{self.port}", "-f", str(self.directory / "test.vcl")]
        place = ["-n", str(self.directory / "work"), "-s", "malloc,16m", "-T", "none"]
        return [self._program, "-F", "-j", "none", *address, *place]

    def _answers_or_ended(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            return True
        probe = ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{self.port}"]
        return subprocess.run(probe, check=False, capture_output=True).returncode == 0


class Front:
    """What a client sees through a Varnish."""

    def __init__(self, varnish: Varnish) -> None:
        self.varnish = varnish

    def ask(self, method: str, path: str, headers=None, source: str = "127.0.0.1"):
        """Return status, headers (by name in lower case) and body of an answer."""
        port, address = self.varnish.port, (source, 0)
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS, source_address=address)
        try:
            line.request(method, path, headers=headers or {})
            with line.getresponse() as answer:
                names = {name.lower(): value for name, value in answer.getheaders()}
                return answer.status, names, answer.read().decode()
        finally:
            line.close()

    def get(self, path: str, **headers: str):
        """Return X-Cache and the body of the answer to a GET."""
        _, names, body = self.ask("GET", path, headers)
        return names["x-cache"], body
