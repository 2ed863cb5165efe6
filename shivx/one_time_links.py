"""Links that let whoever started a development service in as an admin, once.

A token is known to whoever saw it printed; the instance folder keeps only its hash, as the name of a file
that says until when it counts. Who removes the file has used it, and of several only one can. Another
instance has another folder.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from shivx.config import Settings

TOKEN_BYTES = 32
SECONDS = 900.0
"""For which a link is good."""
FOLDER = "links"


def are_offered(settings: Settings) -> bool:
    """Tell whether there are such links at all: in development, with the embedded Redis, on loopback."""
    alone = settings.env == "development" and settings.redis_url is None
    return alone and _is_local(settings.bind.rpartition(":")[0].strip("[]"))


def _is_local(host: str) -> bool:
    """Tell whether only this machine reaches *host*. (`cache_ext` is not for gunicorn's master to import.)"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OneTimeLinks:
    """The links of one instance.

    Args:
        instance_dir: of the service.
        clock: Unix seconds.
    """

    def __init__(self, instance_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = instance_dir / "run" / FOLDER
        self._clock = clock

    def make(self) -> str:
        """Return a new token; those that are too old are forgotten.

        Raises:
            OSError: it cannot be kept.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            if not self._counts(path):
                path.unlink(missing_ok=True)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        path = self._path(token)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(str(self._clock() + SECONDS))
        return token

    def take(self, token: str) -> bool:
        """Tell whether *token* lets in; it does so no second time."""
        path = self._path(token)
        good = self._counts(path)
        try:
            path.unlink()
        except OSError:  # it was never there, or somebody was faster
            return False
        return good

    def drop(self, token: str) -> None:
        """Forget *token*, if it is there."""
        self._path(token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / hashlib.sha256(token.encode(errors="replace")).hexdigest()

    def _counts(self, path: Path) -> bool:
        try:
            left = float(path.read_text()) - self._clock()
        except (OSError, ValueError):
            return False
        return 0 < left <= SECONDS  # more, if the clock was set back
