"""The pages in a real browser: Chromium, driven by Playwright."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.evaluation.episode_factory import call, due, episode, episodes, hostile_episode, turn
from tests.server.browse.recorded_runs import CONFIG, write_run

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: make test-browser"
)
pytest.importorskip("fastapi", reason="the extra serve is not installed")
CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("AGENT_GYM_AXE", "")
pytestmark = [
    pytest.mark.skipif(
        not CHROMIUM, reason="no chromium on this machine: make test-browser needs one"
    ),
]

from agent_gym_env.server.browse.index import Key  # noqa: E402
from agent_gym_env.server.browse.notes import NoteBook, place  # noqa: E402
from agent_gym_env.server.browse.runs import RunFolder  # noqa: E402
from tests.server.running import Running  # noqa: E402

PATIENCE_MS = 300_000
playwright.expect.set_options(timeout=PATIENCE_MS)
expect = playwright.expect
OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def serve(
    tmp_path: Path, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Return a function that serves ``tmp_path/runs`` and opens a page of it."""
    monkeypatch.setattr("agent_gym_env.server.browse.pages._PATIENCE_S", 60.0)
    folder = tmp_path / "runs"
    folder.mkdir(exist_ok=True)
    with Running(folder) as running:
        contexts: list[Any] = []

        def opened(path: str = "/view", **options: Any) -> Any:
            contexts.append(chromium.new_context(**options))
            page = contexts[-1].new_page()
            page.set_default_timeout(PATIENCE_MS)
            page.problems = []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            page.on("dialog", lambda dialog: page.problems.append(dialog.message))
            page.on(
                "console",
                lambda said: page.problems.append(said.text) if said.type == "error" else None,
            )
            page.goto(running.url + path)
            return page

        yield opened
        for context in contexts:
            context.close()


def text_of(page: Any, selector: str) -> str:
    return " ".join(page.inner_text(selector).split())


def test_episodes_are_found_and_opened_by_keys(tmp_path: Path, serve: OpenPage) -> None:
    recorded = [
        episode(turn(0.2, due=due(city="Rome"), made=[call(city="Bonn")]), dialogue_id="1_00001"),
        episode(turn(0.7, user="A table, please."), dialogue_id="1_00002"),
    ]
    write_run(tmp_path / "runs" / "first", recorded)
    page = serve()
    page.click("text=first")
    page.wait_for_selector(".item")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_selector("agent-episode .turn")
    assert "1_00001" in text_of(page, "agent-episode h3")
    assert page.locator("dd.differs").inner_text() == "Bonn"
    page.keyboard.press("/")
    page.keyboard.type("table")
    expect(page.locator(".item")).to_have_count(1)
    assert page.url.endswith("?words=table")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("agent-episode h3")).to_have_text("1_00002")
    page.go_back()
    expect(page.locator("agent-episode")).to_have_count(0)
    page.keyboard.press("u")
    page.wait_for_selector("text=1 of 1 runs")
    assert page.problems == []


def test_two_tabs_tag_and_note_one_episode(tmp_path: Path, serve: OpenPage) -> None:
    write_run(tmp_path / "runs" / "first", episodes([0.5]))
    (run,) = RunFolder(tmp_path / "runs").runs()
    one, other = (serve(f"/view/runs/{run.id}/episodes/0") for _ in range(2))
    one.fill("[name=add_tag]", "odd")
    other.fill("[name=add_note]", "Look\nhere.")
    one.keyboard.press("Enter")
    one.wait_for_selector("button.tag")
    other.click("text=Save")
    other.wait_for_selector(".noted")
    assert text_of(other, ".tags button").startswith("odd")
    assert text_of(other, ".noted .said") == "Look here."
    other.click(".tags button")
    expect(other.locator(".tags button")).to_have_count(0)
    (remarks,) = NoteBook(run).read().values()
    assert (remarks.tags, [note.text for note in remarks.notes]) == ((), ["Look\nhere."])
    assert one.problems == other.problems == []


def test_two_runs_are_compared_side_by_side(tmp_path: Path, serve: OpenPage) -> None:
    write_run(tmp_path / "runs" / "a", episodes([0.9], [0.2], [0.5], policy="new"))
    write_run(tmp_path / "runs" / "b", episodes([0.4], [0.6], [0.5], policy="old"))
    page = serve()
    page.check("[aria-label='Compare a']")
    page.check("[aria-label='Compare b']")
    page.click("text=Compare two runs")
    page.wait_for_selector("#statistics .verdict")
    assert "+0.033" in text_of(page, "#statistics")
    page.select_option("[name=order]", "worse")
    expect(page.locator(".item").first).to_contain_text("1_00001")
    page.click(".item >> nth=0")
    expect(page.locator(".pair agent-episode .turn")).to_have_count(2)
    assert text_of(page, ".pair").count("1_00001") == 2
    page.check("[name=apart]")
    expect(page.locator(".item")).to_have_count(2)
    assert page.problems == []


def test_a_newcomer_plays_starts_an_evaluation_and_compares(
    tmp_path: Path, serve: OpenPage
) -> None:
    page = serve()
    page.click("text=Play the agent")
    page.click("#begin button")
    page.wait_for_selector(".turn")
    for number in (2, 3, 4):
        page.fill("#text", "Which city, please?")
        page.click("#say button")
        page.wait_for_selector(f".turn:nth-child({number}), .silence")
        if page.query_selector("#conversation .silence"):
            break
    else:
        page.click("#call button")
        page.wait_for_selector(".call")
    page.keyboard.press("Escape")
    page.goto(page.url.replace("/play", "/jobs"))
    for policy in ("oracle", "silent"):
        page.select_option("[name=policy]", policy)
        page.fill("[name=episodes]", "3")
        page.fill("[name=name]", policy)
        page.click("#start button")
        page.wait_for_selector(f"[data-run={policy}] .better")
    page.goto(page.url.replace("/jobs", ""))
    expect(page.locator("[name=run]")).to_have_count(2)
    for box in page.locator("[name=run]").all():
        box.check()
    page.click("text=Compare two runs")
    page.wait_for_selector("#statistics .verdict")
    assert "oracle against silent" in text_of(page, "#statistics")
    assert page.problems == []


CANARIES = (
    "<img src=x onerror=hacked()>",
    "\"'><script>hacked()</script>",
    "<svg onload=hacked()>",
    "</title></textarea></agent-episode><iframe srcdoc='<script>parent.hacked()</script>'>",
    "javascript:hacked()",
    "' autofocus onfocus=hacked() x='",
    "{{ 7 * 7 }} {% raw %}",
)


def test_a_person_plays_the_user_against_a_policy(serve: OpenPage) -> None:
    page = serve()
    page.click("text=Play the user")
    page.click("text=Begin")
    expect(page.locator("#about")).to_contain_text("Services: ")
    page.fill("#text", "I want <b>a hotel</b>, please.")
    page.click("#say button")
    expect(page.locator("article.turn")).to_have_count(1)
    assert page.locator("p.said.user").inner_text() == "I want <b>a hotel</b>, please."
    expect(page.locator(".side p.said")).not_to_be_empty()
    page.fill("#begin input[name=policy]", "oracle")
    page.click("text=Begin")
    expect(page.locator("#trouble")).to_contain_text("looks at the environment")
    assert [each for each in page.problems if "422" not in each] == []


def test_nothing_runs_that_stands_in_any_field(tmp_path: Path, serve: OpenPage) -> None:
    fields = 0
    for number, text in enumerate(CANARIES):
        name = text.replace("/", "_")
        recorded = [
            msgspec.structs.replace(hostile_episode(text), dialogue_id=f"{text}{place}", error=None)
            for place in range(2)
        ]
        fields += sum(_texts(msgspec.to_builtins(each), text) for each in recorded)
        config = {**CONFIG, text: text, "policies": [{"name": text, text: text}]}
        write_run(tmp_path / "runs" / f"{number}{name}", recorded, config=config)
    runs = RunFolder(tmp_path / "runs").runs()
    for run, text in zip(runs, CANARIES, strict=True):
        where = place(Key(0), f"{text}0")
        NoteBook(run).add_tag(where, text[:50])
        NoteBook(run).add_note(where, text)
    assert fields >= 200
    page = serve()
    page.add_init_script("window.ran = 0; window.hacked = () => { window.ran += 1; };")
    addresses = ["", "/play", "/jobs"]
    for run in runs:
        addresses += [f"/runs/{run.id}", f"/runs/{run.id}/episodes/0"]
    addresses.append(f"/compare?run={runs[0].id}&run={runs[1].id}&first=0&second=0")
    for text in CANARIES:
        asked = re.sub(r"[^A-Za-z0-9]", lambda found: f"%{ord(found[0]):02x}", text)
        names = ("words", "policy", "service", "outcome", "error", "tag", "order", "kind", "low")
        addresses += [f"/runs/{runs[0].id}?{name}={asked}" for name in names]
        addresses += [f"?words={asked}", f"/runs/{asked}", f"/static/{asked}"]
    base = page.url
    for address in addresses:
        page.goto(base + address)
        if "/episodes/" in address:
            page.wait_for_selector("agent-episode .turn")
            page.click("summary >> nth=0")
        assert page.evaluate("window.ran") == 0, address
        assert page.locator("iframe, img").count() == 0, address


def _texts(value: Any, text: str) -> int:
    """Count the fields and keys of a record that hold a text."""
    if isinstance(value, dict):
        return sum(_texts(key, text) + _texts(each, text) for key, each in value.items())
    if isinstance(value, list | tuple):
        return sum(_texts(each, text) for each in value)
    return isinstance(value, str) and text in value


@pytest.mark.skipif(not Path(AXE).is_file(), reason="AGENT_GYM_AXE names no axe.min.js (axe-core)")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing(tmp_path: Path, serve: OpenPage, width: int, scheme: str) -> None:
    record = turn(0.5, made=[call(city="x")], due=due(city="y"), components={"part": 0.5})
    for name in "ab":
        write_run(tmp_path / "runs" / name, [episode(record, turn(0.0, says=""), policy=name)])
    runs = RunFolder(tmp_path / "runs").runs()
    NoteBook(runs[0]).add_tag(place(Key(0), "1_00000"), "odd")
    NoteBook(runs[0]).add_note(place(Key(0), "1_00000"), "Look.")
    both = f"run={runs[0].id}&run={runs[1].id}"
    looks = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    page = serve(bypass_csp=True, **looks)
    base = page.url
    for address, shown in [
        ("", ".card"),
        (f"/runs/{runs[0].id}", ".item"),
        (f"/runs/{runs[0].id}/episodes/0", "agent-episode .turn"),
        (f"/compare?{both}&first=0&second=0", "#statistics .verdict"),
        ("/play", "#begin"),
        ("/chat", "#begin"),
        ("/jobs", "#start"),
        ("/runs/none", ".failure"),
    ]:
        page.goto(base + address)
        page.wait_for_selector(shown)
        if address == "/play":
            page.click("#begin button")
            page.wait_for_selector(".turn")
        if address == "/chat":
            page.click("#begin button")
            page.wait_for_selector("#played:not([hidden])")
            page.click("#say button")
            page.wait_for_selector(".turn")
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run().then((result) => result.violations)")
        brief = [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]
        assert brief == [], address


@pytest.mark.parametrize("width", [360, 400, 768])
def test_no_page_scrolls_sideways_on_a_small_screen(
    tmp_path: Path, serve: OpenPage, width: int
) -> None:
    long = episode(turn(0.5, user="x" * 300, made=[call(city="y" * 300)]), dialogue_id="z" * 80)
    for name in "ab":
        write_run(tmp_path / "runs" / (name * 60), [long])
    runs = RunFolder(tmp_path / "runs").runs()
    page = serve(viewport={"width": width, "height": 800})
    base = page.url
    both = f"run={runs[0].id}&run={runs[1].id}&first=0&second=0"
    for address in (
        "",
        f"/runs/{runs[0].id}/episodes/0",
        f"/compare?{both}",
        "/play",
        "/chat",
        "/jobs",
    ):
        page.goto(base + address)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, address
