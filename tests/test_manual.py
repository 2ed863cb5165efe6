"""/docs: the API for people, in a real browser, from this service alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import expect

from blueprints.manual import FOLDER
from blueprints.openapi.operations import OPERATIONS
from tests.browser import Tab
from tests.service import GunicornService

pytestmark = pytest.mark.service


@pytest.fixture(scope="module")
def service() -> Iterator[GunicornService]:
    """The service."""
    with GunicornService() as started:
        yield started


def test_it_shows_each_operation_and_tries_one(
    service: GunicornService, open_tab: Callable[..., Tab]
) -> None:
    """All are on the page; a price is asked for and shown; the console is quiet, nobody else is asked."""
    tab = open_tab(service.url)
    tab.page.goto("/docs")
    expect(tab.page.locator(".opblock")).to_have_count(len(OPERATIONS))
    tab.page.locator("#operations-market-getPrice .opblock-summary-control").click()
    price = tab.page.locator("#operations-market-getPrice")
    price.get_by_role("button", name="Execute").click()
    expect(price.locator(".live-responses-table .response .response-col_status")).to_have_text("200")
    expect(price.locator(".live-responses-table")).to_contain_text("received_at")


def test_its_files_are_kept_and_it_is_not(service: GunicornService) -> None:
    """The page is asked for each time, its files once; a file of another version is none."""
    page = service.get("/docs")
    assert (page.status, page.headers["Cache-Control"]) == (200, "no-store")
    files = re.findall(r'(?:src|href)="(/docs/assets/[^"]+)"', page.body.decode())
    assert len(files) == 4
    for path in files:
        answer = service.get(path)
        assert (answer.status, "immutable" in answer.headers["Cache-Control"]) == (200, True)
        again = service.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
    assert service.get(re.sub(r"assets/\w+", "assets/0", files[0])).status == 404


def test_no_limit_counts_it(service: GunicornService) -> None:
    """Neither the page nor the document tells of one."""
    for path in ("/docs", "/openapi.json"):
        assert "RateLimit" not in service.get(path).headers


def test_foreign_code_is_named_with_version_and_licence() -> None:
    """Beside it."""
    told = (FOLDER / "swagger-ui" / "licence.txt").read_text()
    assert re.match(r"swagger-ui-dist \d+\.\d+\.\d+, \S+, Apache-2\.0\n", told)
    assert "Apache License" in told
