"""The dashboard in a real browser, on a running service: what it shows, does, and says when it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from shivx.identity import Tier
from tests.accounts_stage import PASSWORD
from tests.attack_stage import Fortress
from tests.browser import Tab
from tests.service import GunicornService

pytestmark = pytest.mark.service

STATS, HEALTH = "/api/admin/cache/stats", "/api/admin/cache/health"
PRICE = "/api/market/price/{}-USDC"
PHONE = (360, 740)
NONE = "\N{EN DASH}"
KEYS = ("w", "i", "f", "e", "r", "p", "t", "?", "Esc")
INKED = """canvas => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const seen = new Set();
    for (let at = 0; at < pixels.length; at += 4) {
        if (pixels[at + 3] > 200) seen.add(pixels.slice(at, at + 3).join());
    }
    return seen.size;
}"""
"""How many colours were drawn with."""


@pytest.fixture(scope="module")
def stronghold(start_fortress: Callable[..., Fortress]) -> Fortress:
    """The service; no price expires while it is looked at."""
    service = start_fortress(CACHE_MARKET_PRICE_TTL="600", WARM_PAIRS="BTC-USDC,ETH-USDC")
    for pair in ("BTC", "BTC", "BTC", "ETH"):
        assert service.send(PRICE.format(pair)).status == 200
    return service


@pytest.fixture(scope="module")
def session(stronghold: Fortress) -> tuple[str, str]:
    """Name and value of an admin's cookie; logging in is not had as often as there are tests."""
    name, _, value = stronghold.login(Tier.ADMIN).partition("=")
    return name, value


@pytest.fixture
def enter(stronghold: Fortress, session: tuple[str, str], open_tab: Callable[..., Tab]) -> Callable[..., Tab]:
    """Open a tab in which an admin is logged in and the figures are there: ``enter(size=(360, 740))``."""

    def go_in(**options: Any) -> Tab:
        tab = open_tab(stronghold.service.url, **options)
        name, value = session
        tab.context.add_cookies([{"name": name, "value": value, "url": tab.base}])
        tab.page.goto("/admin/cache")
        expect(tab.page.locator("body.is-live")).to_be_visible()
        return tab

    return go_in


@pytest.fixture
def tab(enter: Callable[..., Tab]) -> Tab:
    """A tab with the dashboard."""
    return enter()


def figure(page: Page, name: str) -> str:
    """Return a figure as it is read, with plain spaces."""
    return plain(page.locator(f'[data-figure="{name}"]').inner_text())


def plain(text: str) -> str:
    """Return *text* with plain spaces, and none between a number and its unit."""
    return re.sub(r"\s+", "", text)


def percent(share: float | None) -> str:
    """Return *share* as the page says it."""
    return NONE if share is None else f"{100 * share:.1f}%"


def cells(row: Locator) -> list[str]:
    """Return the texts of a row."""
    return [plain(text) for text in row.locator("th, td").all_inner_texts()]


def outcome(stronghold: Fortress, pair: str = "BTC") -> str:
    """Return whether a price comes from the cache."""
    return stronghold.send(PRICE.format(pair)).headers["X-Cache"]


def audited(stronghold: Fortress) -> list[tuple[str, str, str]]:
    """Return action, target and outcome of what is in the audit, newest first."""
    answer = stronghold.send("/api/admin/audit", stronghold.by_key(Tier.ADMIN))
    return [(each["action"], each["target"], each["outcome"]) for each in json.loads(answer.body)["entries"]]


def test_people_log_in_and_out(stronghold: Fortress, open_tab: Callable[..., Tab]) -> None:
    """Without a session there is a form; a wrong password is told so; after logging out it is there again."""
    tab = open_tab(stronghold.service.url)
    page = tab.page
    page.goto("/admin/cache")
    expect(page).to_have_url(re.compile("/admin/login$"))
    for password in ("wrong", PASSWORD):
        page.get_by_label("Name").fill("the-admin")
        page.get_by_label("Password").fill(password)
        page.keyboard.press("Enter")
        if password == "wrong":
            expect(page.get_by_role("alert")).to_contain_text("wrong")
            tab.forget_failed_calls()
    expect(page).to_have_url(re.compile("/admin/cache$"))
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/admin/login$"))
    page.goto("/admin/cache")
    expect(page).to_have_url(re.compile("/admin/login$"))


def test_the_link_that_is_printed_opens_the_dashboard_once(open_tab: Callable[..., Tab]) -> None:
    """Whichever worker is asked; nothing of it stays in the address, and in the next browser it is told."""
    with GunicornService(workers=2) as service:
        (link,) = re.findall(r"http://\S+/once#token=\S+", service.log)
        tab = open_tab(service.url)
        tab.page.goto(link)
        expect(tab.page.locator("body.is-live")).to_be_visible()
        assert tab.page.url == f"{service.url}/admin/cache"
        tab.page.go_back()
        assert "token" not in tab.page.url
        other = open_tab(service.url)
        other.page.goto(link)
        expect(other.page.get_by_role("alert")).to_contain_text("was used")
        assert other.page.url == f"{service.url}/admin/login/once"
        assert not [url for url in (*tab.asked, *other.asked) if link.partition("=")[2] in url]
        other.forget_failed_calls()


def test_the_figures_are_those_of_the_api(tab: Tab) -> None:
    """Those at the top, each cache, the hot keys, memory, circuit and processes."""
    page = tab.page
    page.get_by_role("button", name="Pause").click()
    shown: list[Any] = []
    page.on("response", lambda answer: STATS in answer.url and shown.append(answer))
    with page.expect_response(lambda answer: STATS in answer.url):
        page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("body.is-paused")).to_be_visible()
    report = last(shown).json()
    total = report["total"]
    assert figure(page, "hit_rate") == percent(total["hit_rate"]["5"])
    assert figure(page, "hit_rate_hour") == f"5min·hour{percent(total['hit_rate']['60'])}"
    assert figure(page, "reads_hour") == f"{total['reads']:,}inthehour"
    assert figure(page, "errors") == percent(total["errors"] / total["reads"])
    assert f"{total['loads']['count']:,}loads" in figure(page, "loads")
    assert total["reads"] > 0 < total["loads"]["count"]
    for name, cache in report["caches"].items():
        row = cells(page.locator(f'#caches tr[data-cache="{name}"]'))
        counts = [cache["reads"], *cache["hits"].values(), cache["misses"], cache["stale"], cache["errors"]]
        assert row[0] == name
        assert row[1] == percent(cache["hit_rate"]["60"])
        assert row[2:9] == [f"{count:,}" for count in (*counts, cache["loads"]["count"])]
        assert row[12] == f"{cache['keys']:,}"
    assert page.locator("#caches tbody tr").count() == len(report["caches"]) + 1
    hot = page.locator("#hot button")
    assert [each.get_attribute("data-key") for each in hot.all()] == [
        each["name"] for each in report["top_keys"][:12]
    ]
    assert page.locator("#processes tbody tr").count() == len(report["processes"]) == 1
    assert figure(page, "circuit") == "1closed"
    assert figure(page, "pool") == f"{report['pool']['used']}of{report['pool']['max']}"
    rules = [each["rule"] for each in (*report["alerts"], *report["recommendations"])]
    found = page.locator("#findings-list li")
    assert [each.get_attribute("data-rule") for each in found.all()] == rules


def last(shown: list[Response]) -> Response:
    """Return the answer that came last."""
    return shown[-1]


def test_the_last_hour_is_drawn_at_first_sight(enter: Callable[..., Tab]) -> None:
    """All four charts, from what the server kept, and said in words to who cannot see them."""

    def past(route: Route) -> None:
        answer = route.fetch()
        report = answer.json()
        for number, minute in enumerate(report["minutes"]):
            minute["reads"], minute["hits"] = 600 + number, {"l1": 500, "l2": 40 + number}
            minute["misses"], minute["load_seconds"], minute["load_seconds_saved"] = 60, 9.0, 90.0
            minute["loads"] = {"count": 60, "p50": 0.1, "p95": 0.2, "p99": 0.3}
            minute["redis_reads"] = {"count": 60, "p50": 0.001, "p95": 0.002, "p99": 0.003}
        route.fulfill(response=answer, json=report)

    tab = enter()
    tab.page.route(f"**{STATS}", past)
    tab.page.reload()
    expect(tab.page.get_by_role("img", name=re.compile("Reads a second, last hour; now: "))).to_be_visible()
    canvases = tab.page.locator("main canvas")
    assert canvases.count() == 4
    for canvas in canvases.all():
        assert canvas.evaluate(INKED) > 4
    tab.page.get_by_role("img", name=re.compile("Reads a second")).hover()
    legend = tab.page.locator("#chart-reads .legend")
    expect(legend).to_contain_text("8.3")  # 500 of L1 in a minute, a second
    expect(tab.page.locator("#chart-hit-rate h2")).to_contain_text(re.compile(r"at \d\d:\d\d"))


def test_a_dry_run_says_what_is_hit_and_a_second_press_does_it(tab: Tab, stronghold: Fortress) -> None:
    """Not before; and only of what was tried."""
    page, tag = tab.page, "pair:simulated:BTC-USDC"
    outcome(stronghold)
    assert outcome(stronghold) == "HIT"
    page.get_by_role("button", name="Invalidate", exact=True).click()
    names, done = page.get_by_label("Names, one a line"), page.locator("#invalidate-do")
    names.fill(tag)
    expect(done).to_be_disabled()
    with page.expect_response("**/api/admin/cache/invalidate") as caught:
        page.get_by_role("button", name="Dry run").click()
    found = caught.value.json()
    assert (found["dry_run"], found["matched"] >= 2) == (True, True)
    expect(page.locator("#invalidate-result")).to_contain_text(f"{found['matched']} entries")
    for name in found["names"]:
        expect(page.locator("#invalidate-result")).to_contain_text(name)
    assert outcome(stronghold) == "HIT"
    names.fill(f"{tag}\nanother")
    expect(done).to_be_disabled()
    names.fill(tag)
    page.get_by_role("button", name="Dry run").click()
    expect(done).to_be_enabled()
    expect(done).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#invalidate-result")).to_contain_text("Done.")
    assert outcome(stronghold) == "MISS"
    assert ("cache.invalidate", f"tags: {tag}", "done") in audited(stronghold)
    page.keyboard.press("Escape")
    expect(page.locator("#invalidations li").first).to_contain_text(tag)


def test_what_cannot_be_invalidated_is_told(tab: Tab) -> None:
    """In words, in the place where it was asked for."""
    tab.page.keyboard.press("i")
    tab.page.get_by_text("Paths", exact=True).click()
    tab.page.get_by_label("Names, one a line").fill("no path")
    tab.page.get_by_role("button", name="Dry run").click()
    expect(tab.page.locator("#invalidate-result.bad")).to_contain_text("/path?query")
    expect(tab.page.locator("#invalidate-do")).to_be_disabled()
    tab.forget_failed_calls()


def test_a_flush_needs_a_reason(tab: Tab, stronghold: Fortress) -> None:
    """Which is in the audit then."""
    page, done = tab.page, tab.page.get_by_role("button", name="Flush everything")
    outcome(stronghold)
    page.get_by_role("button", name="Flush", exact=True).click()
    expect(done).to_be_disabled()
    page.get_by_label("Reason, for the audit").fill("   ")
    expect(done).to_be_disabled()
    page.keyboard.press("Enter")
    assert outcome(stronghold) == "HIT"
    page.get_by_label("Reason, for the audit").fill("a bad deploy")
    done.click()
    expect(page.locator("#flush-result")).to_contain_text("Done.")
    assert outcome(stronghold) == "MISS"
    assert ("cache.flush", "all: a bad deploy", "done") in audited(stronghold)


def test_warming_shows_how_far_it_is(tab: Tab) -> None:
    """Until the job has ended, and what came of it."""
    page = tab.page
    steps = iter([{"status": "running", "progress": 0.25}, {"status": "running", "progress": 0.75}])
    ended = {"status": "succeeded", "progress": 1.0, "result": {"loaded": 12, "failed": 0}}
    seen: list[str] = []

    def job(route: Route) -> None:
        seen.append(page.locator("#warm-result").inner_text())
        route.fulfill(json=next(steps, ended))

    page.route("**/api/ml/jobs/*", job)
    page.keyboard.press("w")
    page.get_by_label(re.compile("Pairs")).fill("BTC-USDC, ETH-USDC")
    with page.expect_request("**/api/admin/cache/warm") as caught:
        page.locator("#warm-do").click()
    assert caught.value.post_data_json == {"pairs": ["BTC-USDC", "ETH-USDC"]}
    expect(page.locator("#warm-result.good")).to_contain_text("loaded 12, failed 0")
    assert [plain(text) for text in seen] == ["queued,0.0%", "running,25.0%", "running,75.0%"]


def test_explanations_are_shown(tab: Tab, stronghold: Fortress) -> None:
    """Of a key that is there, of one that is not, and of a path; all of it as text."""
    page, box = tab.page, tab.page.locator("#explanation")
    outcome(stronghold, "ETH")
    page.keyboard.press("e")
    page.keyboard.type("price:{pair:simulated:ETH-USDC}")
    page.keyboard.press("Enter")
    expect(box.locator(".pill")).to_contain_text("fresh")
    expect(box).to_contain_text("pair:simulated:ETH-USDC")
    page.locator("#explain-name").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    expect(box.locator("h3").first).to_contain_text("<img src=x onerror=alert(1)>")
    assert box.locator("img").count() == 0
    page.locator("#explain-name").fill(PRICE.format("ETH"))
    expect(page.locator("#explain-kind")).to_have_value("path")
    page.keyboard.press("Enter")
    expect(box).to_contain_text(re.compile("fresh|stale"))


def test_a_hot_key_explains_itself(tab: Tab) -> None:
    """By a press."""
    first = tab.page.locator("#hot button").first
    key = first.get_attribute("data-key")
    first.click()
    expect(tab.page.locator("#explanation h3").first).to_contain_text(str(key))


def test_all_is_done_by_keyboard(tab: Tab) -> None:
    """Tab leads to the figures or through the buttons; keys open dialogs, Escape closes and goes back."""
    page = tab.page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the figures")).to_be_focused()
    order = []
    for _ in range(7):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring == "solid", order
    assert order == ["warm", "invalidate", "flush", "pause", "theme", "help", "logout"]
    for key, dialog in (("i", "invalidate"), ("f", "flush"), ("w", "warm"), ("?", "help")):
        page.locator("#theme").focus()
        page.keyboard.press(key)
        expect(page.locator(f"#{dialog}-dialog")).to_be_visible()
        if key == "?":
            assert page.locator("#help-keys kbd").all_inner_texts() == list(KEYS)
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(page.locator("#theme")).to_be_focused()
    page.keyboard.press("e")
    page.keyboard.type("wift")  # text, while somebody types
    expect(page.locator("#explain-name")).to_have_value("wift")
    expect(page.locator("dialog[open]")).to_have_count(0)


def background(page: Page) -> int:
    """Return how bright the page's background is, 0 to 765."""
    text = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in re.findall(r"\d+", text)[:3])


def test_it_is_dark_where_the_system_is(enter: Callable[..., Tab]) -> None:
    """The button changes that, and it stays so."""
    tab = enter(scheme="dark")
    assert background(tab.page) < 100
    tab.page.keyboard.press("t")
    assert background(tab.page) > 600
    tab.page.reload()
    expect(tab.page.locator("body.is-live")).to_be_visible()
    assert background(tab.page) > 600


def test_a_phone_need_not_be_scrolled_sideways(enter: Callable[..., Tab]) -> None:
    """Nor are dialogs wider than it, and all buttons are within reach."""
    tab = enter(size=PHONE)
    page = tab.page
    page.locator("#hot button").first.click()
    expect(page.locator("#explanation h3").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
    for name in ("warm", "invalidate", "flush", "help"):
        page.locator(f"#{name}").click()
        box = page.locator(f"#{name}-dialog").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE[0]
        page.keyboard.press("Escape")
    page.goto("/admin/cache")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_failed_calls_are_told_and_it_recovers_by_itself(tab: Tab) -> None:
    """The figures stay, marked as old; when the service answers again the complaint goes."""
    page, trouble = tab.page, tab.page.locator("#trouble")
    expect(trouble).to_be_hidden()
    page.route(f"**{STATS}", lambda route: route.abort())
    page.keyboard.press("r")
    expect(trouble).to_contain_text(re.compile(r"These figures are \d+ s old: the service cannot be reached"))
    expect(page.locator("body.is-old")).to_be_visible()
    assert figure(page, "hit_rate") != NONE
    page.unroute(f"**{STATS}")
    expect(page.locator("body.is-live")).to_be_visible()
    expect(trouble).to_be_hidden()
    tab.forget_failed_calls()


def test_what_the_service_says_is_wrong_is_told(tab: Tab) -> None:
    """In its own words."""
    broken = {"title": "Unavailable", "detail": "The audit does not answer.", "status": 503}
    tab.page.route(f"**{STATS}", lambda route: route.fulfill(status=503, json=broken))
    tab.page.keyboard.press("r")
    expect(tab.page.locator("#trouble")).to_contain_text("old: The audit does not answer.")
    tab.forget_failed_calls()


def test_figures_of_one_process_alone_are_told_to_be_that(tab: Tab) -> None:
    """With the reason; and what has gone wrong is beside the name."""

    def alone(route: Route) -> None:
        answer = route.fetch()
        alert = {"rule": "redis_away", "level": "alert", "cause": "x", "setting": None, "change": "y"}
        report = {
            **answer.json(),
            **{"complete": False, "incomplete_because": "Redis is away", "redis": None, "alerts": [alert]},
        }
        route.fulfill(response=answer, json=report)

    tab.page.route(f"**{STATS}", alone)
    tab.page.keyboard.press("r")
    expect(tab.page.locator("#trouble")).to_contain_text("not of all processes. Redis is away.")
    expect(tab.page.locator("#status")).to_contain_text("1 alert")
    expect(tab.page.locator('[data-figure="memory-redis"]')).to_contain_text("does not answer")
    tab.page.unroute_all(behavior="wait")
    tab.page.keyboard.press("r")
    expect(tab.page.locator("#trouble")).to_be_hidden()


def test_who_is_logged_out_elsewhere_is_told_and_can_log_in(tab: Tab) -> None:
    """The page says so, and goes on once there is a session again."""
    cookies = tab.context.cookies()
    tab.context.clear_cookies()
    tab.page.keyboard.press("r")
    expect(tab.page.locator("#trouble")).to_contain_text("nobody is logged in")
    expect(tab.page.locator("#trouble a")).to_have_attribute("href", "/admin/login")
    tab.context.add_cookies(cookies)
    tab.page.keyboard.press("r")
    expect(tab.page.locator("body.is-live")).to_be_visible()
    tab.forget_failed_calls()


@pytest.fixture
def hidden(tab: Tab) -> Callable[[bool], None]:
    """Have the tab believe that nobody sees it, or that somebody does."""

    def hide(value: bool) -> None:
        tab.page.evaluate(
            """value => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            value,
        )

    return hide


def test_nothing_is_asked_while_nobody_looks(tab: Tab, hidden: Callable[[bool], None]) -> None:
    """And at once when somebody does again."""
    page = tab.page
    page.clock.install()
    page.reload()
    expect(page.locator("body.is-live")).to_be_visible()
    asked = len([url for url in tab.asked if STATS in url])
    hidden(True)
    for _ in range(4):
        page.clock.run_for(15_000)
        page.evaluate("fetch('/healthz').then(answer => answer.text())")  # what was asked before is noted
    assert len([url for url in tab.asked if STATS in url]) == asked
    with page.expect_response(lambda answer: STATS in answer.url):
        hidden(False)
