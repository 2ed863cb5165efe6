"""The keys that sign and encrypt: as text of a setting, or made once and kept in the instance folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from shivx.errors import ConfigurationError

FILE_NAME = "secret_keys"
MIN_CHARACTERS = 32
KEY_BYTES = 48
"""Random bytes in a generated key; in base64, 64 characters."""


def split_keys(text: str) -> tuple[str, ...]:
    """Return the comma-separated keys of *text*, newest first.

    Raises:
        ValueError: one is too short or comes twice; the message shows none.
    """
    keys = tuple(key.strip() for key in text.split(","))
    if min(map(len, keys)) < MIN_CHARACTERS:
        raise ValueError(f"keys of at least {MIN_CHARACTERS} characters each, separated by commas")
    if len(set(keys)) < len(keys):
        raise ValueError("keys that all differ")
    return keys


def kept_keys(instance_dir: Path) -> tuple[str, ...]:
    """Return the keys kept in *instance_dir*; make one if there are none. Safe among many processes.

    Raises:
        ConfigurationError: the folder or the file cannot be used.
    """
    path = instance_dir / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return split_keys(path.read_text("ascii").strip())
    except OSError as error:
        raise ConfigurationError(
            f"SHIVX_INSTANCE_DIR: cannot keep the secret keys in {path}: {error.strerror}"
        ) from error
    except ValueError:
        raise ConfigurationError(
            f"SHIVX_SECRET_KEYS: {path} is damaged; remove it to have a new key made (sessions end)"
        ) from None


def _create(path: Path) -> None:
    """Make *path*, whole and 0600 from its first moment, unless another process is first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(draft)  # unlike a rename, fails if it is there
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
