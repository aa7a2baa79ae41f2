import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from agent_gym_env.errors import StorageError
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.report import render_report, write_report
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import call, due, episode, episodes, turn

HOSTILE = (
    "</script><script>document.title='hacked'</script>",
    "<img src=x onerror=\"document.title='hacked'\">",
    "<svg onload=document.title='hacked'>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:document.title='hacked'",
    "<!-- ]]> --!> \u2028 \x00",
    "'\"><b>bold</b>",
)


class Page(HTMLParser):
    """What a browser would make of a page, as far as the tests ask."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.contents: dict[str, list[str]] = {}
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.contents.setdefault(self._open, []).append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.tags if each == tag]


def hostile_episode(text: str) -> Episode:
    return episode(
        turn(
            0.3,
            user=text,
            says=text,
            recorded=text,
            due=due(**{text: text}),
            made=[call(text, **{text: [text]})],
            components={text: 0.5},
            reason=text,
            service=text,
            action_error=text,
        ),
        policy=text,
        error=text,
        dialogue_id=text,
    )


def hostile_page() -> str:
    played = [[hostile_episode(text)] for text in HOSTILE]
    evaluated = [(summarize(group, resamples=10), group) for group in played]
    return render_report(evaluated)


def page_of(*groups: list[Episode]) -> str:
    return render_report([(summarize(group, resamples=10), group) for group in groups])


def csp(page: Page) -> dict[str, str]:
    (policy,) = (
        each["content"] or ""
        for each in page.named("meta")
        if each.get("http-equiv") == "Content-Security-Policy"
    )
    return {rule.split()[0]: rule.split()[1] for rule in policy.split(";")}


def test_what_policies_wrote_makes_no_element() -> None:
    harmless, hostile = Page(page_of(episodes([0.5]))), Page(hostile_page())
    for tag in ("script", "style", "img", "iframe", "object", "link", "base", "form"):
        assert len(hostile.named(tag)) == len(harmless.named(tag)), tag
    assert not [name for _, each in hostile.tags for name in each if name.startswith("on")]
    assert "49" not in "".join(hostile.contents["h1"])


def test_only_the_pages_own_script_and_style_may_run() -> None:
    page = Page(hostile_page())
    rules = csp(page)
    assert rules["default-src"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        own = page.contents[tag][-1]
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_the_page_asks_nothing_of_another_host() -> None:
    html = page_of(episodes([0.5, 1.0], [0.2]))
    assert not re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", html.replace("// ", ""))
    assert "url(" not in html
    page = Page(html)
    links = [each for each in page.named("a") if not (each["href"] or "").startswith("#")]
    assert not links


def test_the_script_writes_text_only() -> None:
    script = Page(page_of(episodes([0.5]))).contents["script"][-1]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def test_the_numbers_of_each_policy_are_on_the_page() -> None:
    html = page_of(episodes([0.25, 0.5], policy="old"), episodes([0.75, 1.0], policy="new"))
    words = " ".join("".join(Page(html).contents[tag]) for tag in ("b", "h1"))
    assert "0.375" in words
    assert "0.875" in words
    assert "old · new" in words


def test_trouble_is_said_beside_the_numbers() -> None:
    failed = episode(turn(None), dialogue_id="1_00009", error="TimeoutError: late")
    html = page_of([*episodes([0.5]), failed])
    text = " ".join("".join(Page(html).contents["span"]).split())
    assert "1 of 2 episodes failed: TimeoutError" in text
    assert "1 of 2 turns have no reward and are left out" in text


def test_a_comparison_shows_its_verdict() -> None:
    new = episodes(*[[0.9]] * 20, policy="new")
    old = episodes(*[[0.1]] * 20, policy="old")
    html = render_report(
        [(summarize(group, resamples=10), group) for group in (new, old)],
        [compare(new, old, resamples=500)],
    )
    assert 'class="verdict better">better<' in html
    assert "+0.800" in html


def test_a_policy_played_under_two_rewards_is_named_by_them() -> None:
    groups = [episodes([0.5], reward=reward) for reward in ("ground_truth", "balanced")]
    html = page_of(*groups)
    assert "agent (test, ground_truth)" in html
    assert "agent (test, balanced)" in html


def test_the_same_episodes_give_the_same_page() -> None:
    played = episodes([0.5, None], [1.0])
    assert page_of(played) == page_of(played)


def test_fifty_long_episodes_stay_below_two_megabytes(tmp_path: Path) -> None:
    record = turn(0.5, says="word " * 13_000, made=[call(city="x" * 60_000)], due=due(city="y"))
    played = [episode(*[record] * 20, dialogue_id=f"1_{number:05d}") for number in range(60)]
    path = write_report(tmp_path / "report.html", [(summarize(played, resamples=10), played)])
    assert 500_000 < path.stat().st_size < 2_000_000


def test_an_interrupted_report_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "report.html"
    played = episodes([0.5])
    assert write_report(path, [(summarize(played), played)]) == path
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    with pytest.raises(StorageError):
        write_report(path / "below a file.html", [(summarize(played), played)])


def test_a_report_without_an_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one evaluation"):
        render_report([])


def _rendered(chromium: str, page: Path) -> str:
    command = [chromium, "--no-sandbox", "--headless", "--disable-gpu", "--dump-dom"]
    run = subprocess.run(
        [*command, page.as_uri()], capture_output=True, timeout=60, check=True, text=True
    )
    return run.stdout


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
def test_a_browser_runs_nothing_that_policies_wrote(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(hostile_page(), encoding="utf-8")
    dom = _rendered(shutil.which("chromium") or "", path)
    page = Page(dom)
    assert "hacked" not in page.contents["title"]
    assert not page.named("img")
    items = [each for each in page.named("button") if each.get("class") == "item"]
    assert len(items) == len(HOSTILE)
    assert [each for each in page.named("article") if each.get("class") == "turn"]
    assert json.loads(page.contents["script"][0])["policies"]
