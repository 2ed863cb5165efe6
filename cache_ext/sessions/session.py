"""`flask.session`: a dict that asks Redis when somebody first looks into it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask_session.redis.redis import RedisSession

from cache_ext.errors import StoreUnavailable
from cache_ext.sessions.changes import Changes
from cache_ext.sessions.reader import Environ
from cache_ext.sessions.store import Kept

Content = tuple[dict[str, Any], dict[str, bytes]]
"""What a session holds, and the same as it was encoded."""


class SafeSession(RedisSession):  # type: ignore[misc]
    """Flask-Session's session, read late.

    `permanent`, `modified` and `accessed` are as Flask describes them.

    Args:
        environ: of its request.
        find: returns the stored session, None if there is none; asked at most once.
        unpack: returns what a stored session holds.
    """

    def __init__(
        self, environ: Environ, find: Callable[[], Kept | None], unpack: Callable[[Kept], dict[str, Any]]
    ) -> None:
        super().__init__()
        self.environ = environ
        self._find = find
        self._unpack = unpack
        self.loaded = False
        self.away = False
        """Redis did not answer, so nobody knows what is in it; nothing will be stored."""
        self.kept: Kept | None = None
        self.account: int | None = None
        self.epoch: int | None = None
        """That of a new sign-in. None: that of what is stored, which somebody may have carried over."""
        self.renewed = False
        """It is to get a new id."""
        self.emptied = False
        """Whatever others put into it meanwhile is to go as well."""
        self.cookie: str | None = None
        """What the answer has to tell the client: an id, "" that there is none any more."""
        self._before: dict[str, bytes] = {}

    def load(self) -> None:
        """Read it, if that has not been done. Without Redis it is empty."""
        if self.loaded:
            return
        self.loaded = True
        try:
            self.kept = self._find()
        except StoreUnavailable:
            self.away = True
        if self.kept is not None:
            self.account = self.kept.record.account
            self._before = self.kept.record.data
            dict.update(self, self._unpack(self.kept))

    @property
    def sid(self) -> str | None:
        """The id that the client holds, None if there is no stored session. Not for logs."""
        self.load()
        return None if self.kept is None else self.kept.id.text

    @sid.setter
    def sid(self, value: str | None) -> None:
        """Flask-Session's constructor sets it; an id is nobody's choice."""

    def changes(self, packed: dict[str, bytes]) -> Changes:
        """Return what was changed since it was read or stored, its content being *packed* now."""
        return Changes.between(self._before, packed, self.emptied)

    def stored(self, kept: Kept, packed: dict[str, bytes]) -> None:
        """Note that its content, *packed*, is stored."""
        self.kept, self._before, self.epoch = kept, packed, None
        self.modified = self.renewed = self.emptied = False
        self.cookie = kept.id.text

    def ended(self) -> None:
        """Note that there is no such session any more."""
        self.kept, self.account, self._before = None, None, {}
        dict.clear(self)
        self.modified = self.renewed = self.emptied = False

    def renew(self) -> None:
        """Have it get a new id when it is stored."""
        self.load()
        self.renewed = self.modified = True

    def clear(self) -> None:
        """Remove everything, and sign out."""
        self.load()
        if self.account is not None:
            self.account, self.renewed = None, True
        self.emptied = True
        super().clear()
        if not self.permanent:
            dict.pop(self, "_permanent", None)  # which Flask-Session leaves there, as False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing in it to be stored."""
        return self.account is None and not (self.keys() - {"_permanent"})


def _loading(name: str) -> Callable[..., Any]:
    method = getattr(RedisSession, name)

    @wraps(method)
    def call(self: SafeSession, *arguments: Any, **options: Any) -> Any:
        self.load()
        return method(self, *arguments, **options)

    return call


LOOKS_INTO = (
    "__bool__", "__contains__", "__delitem__", "__eq__", "__ge__", "__getitem__", "__gt__", "__ior__",
    "__iter__", "__le__", "__len__", "__lt__", "__ne__", "__or__", "__repr__", "__reversed__", "__ror__",
    "__setitem__", "copy", "get", "items", "keys", "pop", "popitem", "setdefault", "update", "values",
)  # fmt: skip
"""All that a dict can be asked or told."""
for _name in LOOKS_INTO:
    setattr(SafeSession, _name, _loading(_name))
