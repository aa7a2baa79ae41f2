"""The page of `docs/guides/frontend_integration.md` in a real browser, from another origin."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.server.running import LONGEST_WAIT_S, Running, wait_for

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make test-browser"
)
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: make test-browser needs one")

EXAMPLES = Path(__file__).parents[2] / "examples"


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """The address of another server, which has the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(EXAMPLES))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_page_plays_and_evaluates(tmp_path: Path, origin: str) -> None:
    patience_ms = LONGEST_WAIT_S * 1000
    playwright.expect.set_options(timeout=patience_ms)
    with Running(tmp_path, origins=(origin,)) as server, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(patience_ms)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{origin}/frontend.html?server={server.url}")
        page.click("#start")
        page.fill("#say input", "Which city, please?")
        page.click("#say button")
        playwright.expect(page.locator("#words li")).to_have_count(3)
        assert page.locator("#words li").nth(1).inner_text() == "You: Which city, please?"
        assert page.locator("#words li").nth(2).inner_text().startswith("User: ")
        page.click("#run")
        playwright.expect(page.locator("#result")).to_contain_text("reward per turn: 0.")
        assert problems == []
        browser.close()
        wait_for(lambda: [run["state"] for run in server.client().runs()] == ["done"])


def test_a_page_of_an_origin_that_is_not_allowed_gets_nothing(tmp_path: Path, origin: str) -> None:
    with Running(tmp_path) as server, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"{origin}/frontend.html?server={server.url}")
        page.click("#run")
        result = page.locator("#result")
        playwright.expect(result).not_to_be_empty(timeout=LONGEST_WAIT_S * 1000)
        assert "reward" not in result.inner_text()
        assert server.client().runs() == []
        browser.close()
