"""The page in a real Chromium, over a real record store: what a person sees, and that payloads stay text."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from page_seed import Loop, Seeding, alert, inference, verdict, window
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from wayside.eventing.alert import AlertState
from wayside.eventing.vocabulary import ServiceKey
from wayside.local.demo.ledger import Answer, Route

T = TypeVar("T")
CHROMIUM, CHROMEDRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,900"
)
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
ZERO = [0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0, 0.0] * 8

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and CHROMEDRIVER.exists()) and os.environ.get("WAYSIDE_TEST_REQUIRE_BROWSER") != "1",
        reason="no Chromium: apt-get install chromium chromium-driver",
    ),
]


class Browser:
    """A browser for a test that runs on an event loop: every call waits in a thread."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    async def open(self, url: str) -> None:
        await asyncio.to_thread(self._driver.get, url)

    async def text(self, selector: str) -> str:
        return await self.run(lambda driver: driver.find_element(By.CSS_SELECTOR, selector).text)

    async def click(self, selector: str) -> None:
        await self.run(lambda driver: driver.find_element(By.CSS_SELECTOR, selector).click())

    async def script(self, code: str) -> object:
        return await self.run(lambda driver: driver.execute_script(code))

    async def run(self, work: Callable[[webdriver.Chrome], T]) -> T:
        return await asyncio.to_thread(work, self._driver)

    async def wait_text(self, selector: str, words: str, timeout_s: float = 10.0) -> str:
        """Wait until an element shows the words; returns all of its text, on one line."""
        deadline = time.monotonic() + timeout_s
        while words not in (shown := " ".join((await self.text(selector)).split())):
            assert time.monotonic() < deadline, f"{selector} shows {shown!r}, never {words!r}"
            await asyncio.sleep(0.05)
        return shown

    async def errors(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in await self.run(lambda driver: driver.get_log("browser"))]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    os.environ["SE_OFFLINE"] = "true"  # selenium fetches no driver of its own
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    yield started
    started.quit()


@pytest.fixture
async def browser(driver: webdriver.Chrome) -> Browser:
    shown = Browser(driver)
    await shown.open("about:blank")  # the page of the test before asks on for a server that is gone
    await shown.errors()
    return shown


async def test_a_flagged_digit_is_a_picture_with_its_numbers_and_its_record(loop: Loop, browser: Browser) -> None:
    request, response = inference("e1", time.time(), [ZERO, ZERO], [0, 7])
    await loop.take(request, response, verdict(request, [1.0, 42.5], [0.5, 0.0004], 30.25))
    await browser.open(loop.url)
    shown = await browser.wait_text("#flagged", "read as 7")
    assert all(words in shown for words in ("p 4.0·10⁻⁴", "score 42.5", "threshold 30.3", "1 of 2 scored rows"))
    assert "read as 0" not in shown
    inked = (
        "const c = document.querySelector('.card canvas'); const d = c.getContext('2d').getImageData(0, 0, 8, 8).data;"
    )
    assert await browser.script(f"{inked} return [c.width, c.height, d[3], d[11] > 190]") == [8, 8, 0, True]
    await browser.click(".card")
    assert '"requestid": "client-e1"' in await browser.wait_text("#record-text", "instance_score")
    await browser.click("#record-close")
    assert await browser.script("return document.getElementById('record').open") is False
    assert await browser.errors() == []


async def test_an_alert_opens_and_resolves_while_one_looks(loop: Loop, browser: Browser) -> None:
    now = time.time()
    await loop.take(window(0, 200, now - 3, 0.6))
    await browser.open(loop.url)
    await browser.wait_text("#state", "all quiet")
    await browser.wait_text("#alerts", "No alert so far")
    await loop.take(window(200, 400, now - 2, 1e-12), alert(AlertState.OPENED, 200, now - 2, now - 2))
    await browser.wait_text("#state", "alert open since")
    await browser.wait_text("#alerts", "the last window drifts")
    shown = await browser.wait_text("#alerts li", "open warning, since")
    assert "1 window drifted; the last at p 1.0·10⁻¹², level 1.0·10⁻⁵" in shown
    assert "pixel 42" in shown
    assert "median 5.40 → 10.7" in shown
    assert await browser.script("return document.querySelectorAll('#alerts svg.quantiles path').length") == 6
    await loop.take(window(400, 600, now - 1, 0.03))
    await browser.wait_text("#alerts", "quiet for 1 window")
    assert "alert open" in await browser.text("#state"), "one quiet window resolves nothing"
    await loop.take(alert(AlertState.RESOLVED, 200, now - 2, now - 1))
    await browser.wait_text("#state", "all quiet since")
    rule = "an any-feature rule (p ≤ 0.05) would have raised 1 alarm on the same windows, and 2 on all 3"
    assert rule in await browser.wait_text("#alerts", "resolved")
    assert await browser.script("return document.querySelectorAll('#drift .drifted').length") == 1
    assert await browser.script("return document.querySelectorAll('#drift .steady').length") == 2
    assert await browser.errors() == []


async def test_it_says_how_far_a_first_window_is(loop: Loop, browser: Browser) -> None:
    loop.windows = {"rows": 120, "in_windows": 0, "open": 120, "state": "warming up: 120 of 200 rows"}
    await browser.open(loop.url)
    shown = await browser.wait_text("#drift .note", "warming up")
    assert "No window has closed yet. 120 rows wait in the open window. digits is warming up: 120 of 200 rows." in shown
    late = {"in_windows": 100, "open": 10, "late": 7, "overflow": 2, "evicted": 1}
    loop.windows = {"rows": 120, "state": "quiet for 1 window", **late}
    assert "+ 7 late + 3 left out" in await browser.wait_text("#balance", "+ 3 left out")
    assert await browser.errors() == []


async def test_hostile_text_is_shown_and_does_nothing(loop: Loop, browser: Browser) -> None:
    now = time.time()
    loop.key = ServiceKey("default", HOSTILE, HOSTILE, "")
    loop.triggers = {HOSTILE: 1}
    extensions = {"metadata": HOSTILE, "requestid": HOSTILE, "inferenceservicename": HOSTILE}
    request, response = inference("e1", now, [{HOSTILE: HOSTILE, "age": 3}], [HOSTILE], **extensions)
    await loop.take(request, response, verdict(request, [9.0], [0.001], 3.0), window(0, 200, now, 0.5, loop.key))
    await loop.ledger.begin_phase("one", HOSTILE, HOSTILE)
    await loop.ledger.note_fault(HOSTILE)
    loop.ledger.record(Answer(now, Route.THROUGH, HOSTILE, 1, 200, 0.004, "one"))
    await loop.ledger.flush()
    await browser.open(loop.url)
    for selector in ("#services", "#flagged .prediction", "#flagged .field", "#phase", "#drift h3", "#broker td"):
        await browser.wait_text(selector, "<script>document.title")
    await browser.wait_text("#latency .fault-list", HOSTILE)
    await browser.click(".card")
    await browser.wait_text("#record-text", '"requestid": "<script>')
    foreign = "return document.querySelectorAll('script:not([src=\"page.js\"]), img, [style], [onerror]').length"
    assert await browser.script(foreign) == 0
    assert await browser.script("return document.title") == "all quiet · Wayside"
    assert await browser.errors() == []


async def test_charts_tell_exact_values_and_the_balance_is_shown(loop: Loop, browser: Browser) -> None:
    now = int(time.time())
    await loop.ledger.begin_phase("ordinary", "Ordinary digits", "ordinary")
    for route, latency_s in ((Route.THROUGH, 0.0045), (Route.DIRECT, 0.004)):
        for at in range(20):
            loop.ledger.record(Answer(now - 30 + at, route, f"{route}-{at}", 1, 200, latency_s, "ordinary"))
    await loop.ledger.flush()
    rows = [inference(f"e{at}", now - 30 + at, [ZERO], [3]) for at in range(20)]
    await loop.take(*(event for pair in rows for event in pair))
    await loop.take(*(verdict(request, [1.0], [0.5], 3.0) for request, _ in rows))
    loop.windows = {"rows": 20, "in_windows": 15, "open": 5}
    await browser.open(loop.url)
    assert "+0.500" in await browser.wait_text("#latency .legend", "4.50")
    balance = await browser.wait_text("#balance", "Every row is accounted for")
    assert balance.startswith("20 answered = 20 recorded = 20 scored = 15 in windows + 5 in the open")
    key = "document.querySelector('#latency .chart').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
    await browser.script(key)
    await browser.wait_text("#latency .tip", "through the logger: p50 4.50")
    assert "median 4.50" in str(await browser.script("return document.querySelector('#latency title').textContent"))
    assert await browser.errors() == []


async def test_it_fits_a_narrow_screen(loop: Loop, browser: Browser) -> None:
    request, response = inference("e1", time.time(), [ZERO], [0])
    await loop.take(request, response, verdict(request, [42.5], [0.0004], 30.25))
    narrow = {"width": 420, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    await browser.run(lambda driver: driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow))
    try:
        await browser.open(loop.url)
        await browser.wait_text("#flagged", "read as 0")
        assert await browser.script("return document.documentElement.scrollWidth") == 420
    finally:
        await browser.run(lambda driver: driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {}))


async def test_a_whole_demo_on_one_page(loop: Loop, browser: Browser, tmp_path: Path) -> None:
    """A demo seeded on disk, or the one that runs at WAYSIDE_TEST_PAGE. The README's picture is made of a real one:

    WAYSIDE_TEST_PAGE=http://127.0.0.1:8600 WAYSIDE_TEST_SCREENSHOT=docs/page.png scripts/test tests/page -k whole_demo
    """
    url = os.environ.get("WAYSIDE_TEST_PAGE")
    if url is None:
        await Seeding(loop).run()
    picture = Path(os.environ.get("WAYSIDE_TEST_SCREENSHOT") or tmp_path / "page.png")
    tall = {"width": 1280, "height": 1480, "deviceScaleFactor": 1, "mobile": False}
    await browser.run(lambda driver: driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", tall))
    try:
        await browser.open(url or loop.url)
        await browser.wait_text("#balance", "Every row is accounted for")
        await browser.wait_text("#alerts", "resolved")
        await browser.wait_text("#flagged", "Choose one to see its record")
        assert await browser.run(lambda driver: driver.save_screenshot(str(picture)))
    finally:
        await browser.run(lambda driver: driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {}))
    assert await browser.errors() == []
