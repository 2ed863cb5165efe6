"""A real browser for tests: Chromium without a window, driven by Playwright."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.servers import ServerAbsent

PROGRAM = Path("/usr/bin/chromium")
OPTIONS = (
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PATIENCE_MS = 30_000.0  # a busy machine
DESKTOP = (1280, 900)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser until the block ends.

    Raises:
        ServerAbsent: this machine has none.
    """
    if not PROGRAM.exists():
        raise ServerAbsent("no Chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page as somebody has it open, in a profile of its own; notes what goes wrong in it.

    Args:
        base: the address of the service, without slash at the end.
        size: of the window, pixels.
        scheme: ``light`` or ``dark``, as the system prefers.
    """

    def __init__(
        self, browser: Browser, base: str, *, size: tuple[int, int] = DESKTOP, scheme: str = "light"
    ) -> None:
        self.base = base
        self.context: BrowserContext = browser.new_context(
            base_url=base,
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.troubles: list[str] = []
        """What the console and scripts complained of."""
        self.asked: list[str] = []
        """The URLs of all requests."""
        self.page.on("console", lambda said: said.type in ("error", "warning") and self._note(said.text))
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _note(self, trouble: str) -> None:
        self.troubles.append(trouble)

    def forget_failed_calls(self) -> None:
        """Forget what the browser itself said of calls that a test let fail."""
        self.troubles = [each for each in self.troubles if not each.startswith("Failed to load resource")]

    def close(self) -> None:
        """Close it."""
        self.context.close()

    @property
    def elsewhere(self) -> list[str]:
        """What was asked of anybody but the service."""
        return [url for url in self.asked if not url.startswith((self.base + "/", "data:", "blob:"))]


@contextmanager
def tabs(browser: Browser) -> Iterator[Callable[..., Tab]]:
    """Return what opens tabs; they are closed with the block, which fails if anything went wrong in one."""
    opened: list[Tab] = []

    def open_tab(base: str, **options: object) -> Tab:
        opened.append(Tab(browser, base, **options))
        return opened[-1]

    try:
        yield open_tab
    finally:
        for tab in opened:
            tab.close()
    for tab in opened:
        assert tab.troubles == []
        assert tab.elsewhere == []
