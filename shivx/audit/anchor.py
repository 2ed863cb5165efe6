"""The anchor: the head of the chain in a file, where who can only write to the database does not reach."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from shivx.audit.events import Head
from shivx.audit.keys import ChainKeys
from shivx.embedded.deadline import Deadline
from shivx.embedded.locks import EXCLUSIVE, lock, open_lock

FILE_NAME = "audit_anchor"
LOCK_SECONDS = 2.0
"""Another worker holds the lock for one write; this is long."""
MAX_BYTES = 4096
_PURPOSE = "anchor"


class _Content(msgspec.Struct, frozen=True):
    number: int
    mac: str
    signature: str


class AnchorDamaged(Exception):
    """The file is there, and is none that the service wrote."""


class Anchor:
    """The newest head that this host knows to be committed. It only ever moves forward.

    Args:
        folder: where the file lies; made if absent.
        keys: sign it.
    """

    def __init__(self, folder: Path, keys: ChainKeys) -> None:
        self.path = folder / FILE_NAME
        self._keys = keys

    def read(self) -> Head | None:
        """Return the head that is anchored; None if there is no file.

        Raises:
            AnchorDamaged: somebody else wrote it.
            OSError: it cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                found = msgspec.json.decode(file.read(MAX_BYTES), type=_Content)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise AnchorDamaged(f"{self.path} is damaged") from error
        if not self._keys.is_signed(_PURPOSE, [found.number, found.mac], found.signature):
            raise AnchorDamaged(f"{self.path} is not signed with a key of this service")
        return Head(found.number, found.mac)

    def advance(self, head: Head) -> None:
        """Replace the file, all of it or not at all, if *head* is beyond what it says.

        Raises:
            AnchorDamaged: somebody else wrote it; it stays.
            OSError: it cannot be written (TimeoutError: another process keeps it locked).
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open_lock(self.path.with_suffix(".lock"))
        try:
            lock(descriptor, EXCLUSIVE, Deadline.after(LOCK_SECONDS))
            known = self.read()
            if known is None or known.number < head.number:
                self._replace(head)
        finally:
            os.close(descriptor)

    def _replace(self, head: Head) -> None:
        content = _Content(head.number, head.mac, self._keys.sign(_PURPOSE, [head.number, head.mac]))
        draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(content) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
