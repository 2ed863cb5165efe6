"""How CDNs are told to forget: a purger for each kind, all of them behind one Protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from cache_ext.errors import CacheError

Send = Callable[[str, str, Mapping[str, str], bytes | None], int]
"""Sends a request (method, URL, headers, body) within a time of its own, and returns the status of the
answer, which it has read to its end; raises OSError if there is none."""
BATCH = 256
"""Names in one request: as many as Fastly takes. Varnish takes them in one header of less than 4 KiB."""


class PurgeFailed(CacheError):
    """The CDN did not do as it was told."""


class Purger(Protocol):
    """Tells a CDN to forget answers."""

    def purge(self, names: Collection[str]) -> None:
        """Have all answers forgotten that carry one of *names*, at most `BATCH`; done when it returns.

        Raises:
            PurgeFailed: the CDN refuses.
            OSError: it does not answer.
        """


class VarnishPurger:
    """Purges by ``PURGE`` with the header ``Xkey-Purge``, as deploy/varnish/shivx.vcl understands it.

    Args:
        url: of the Varnish.
        token: what its VCL compares.
        send: the HTTP client.
    """

    def __init__(self, url: str, token: str, send: Send) -> None:
        self._url, self._token, self._send = url + "/", token, send

    def purge(self, names: Collection[str]) -> None:
        """Have all answers forgotten that carry one of *names*; see `Purger`."""
        headers = {"Xkey-Purge": " ".join(names), "Purge-Token": self._token}
        _check(self._send("PURGE", self._url, headers, None))


class FastlyPurger:
    """Purges by the batch call of Fastly's API.

    Source: https://www.fastly.com/documentation/reference/api/purging/, "Purge multiple surrogate key tags":
    ``POST /service/{service_id}/purge``, up to 256 keys as JSON, authorised by ``Fastly-Key``.

    Args:
        url: of the service in the API, ``https://api.fastly.com/service/SERVICE_ID``.
        token: an API token of the scope ``purge_select``.
        send: the HTTP client.
    """

    def __init__(self, url: str, token: str, send: Send) -> None:
        self._url, self._token, self._send = url + "/purge", token, send

    def purge(self, names: Collection[str]) -> None:
        """Have all answers forgotten that carry one of *names*; see `Purger`."""
        headers = {
            "Fastly-Key": self._token,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        body = json.dumps({"surrogate_keys": list(names)}).encode()
        _check(self._send("POST", self._url, headers, body))


def _check(status: int) -> None:
    if not 200 <= status < 300:
        raise PurgeFailed(f"the CDN answered a purge with {status}")
