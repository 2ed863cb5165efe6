"""The sessions of people who log in: those of `cache_ext`, believed only in their account's epoch."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from cache_ext import TieredCache
from cache_ext.sessions.sessions import Sessions
from shivx.accounts.accounts import Accounts, UnknownAccount
from shivx.config import Settings


def open_sessions(
    app: Flask, settings: Settings, state: TieredCache, accounts: Callable[[], Accounts]
) -> Sessions:
    """Give *app* its sessions. Nothing is connected yet.

    Args:
        state: whose Redis they are in.
        accounts: returns those whose sessions they are; asked when the first session is read.
    """

    def epoch_of(account: int) -> int | None:
        try:
            return accounts().epoch(account)
        except UnknownAccount:
            return None

    return Sessions(
        app,
        state,
        ttl=settings.cache_session_ttl,
        idle=settings.cache_session_idle_ttl,
        epoch_of=epoch_of,
        behind_proxies=settings.trusted_proxies > 0,
    )
