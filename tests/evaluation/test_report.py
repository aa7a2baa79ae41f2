import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.errors import StorageError
from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.report import (
    model_use,
    public_configuration,
    render_report,
    write_report,
)
from agent_gym_env.rollout.episode import Episode, Spending, StepRecord
from agent_gym_env.types import Action, Completion, Usage
from tests.evaluation.episode_factory import call, due, episode, episodes, hostile_episode, turn
from tests.timing import PROCESS_S

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
    """The parts of a parsed page that the tests look at."""

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


def test_every_plot_has_a_name_and_every_scroll_area_is_reached_by_the_keyboard() -> None:
    new, old = (episodes(*[[0.9, 0.1]] * 9, policy=name) for name in ("new", "old"))
    evaluated = [(summarize(group, resamples=10), group) for group in (new, old)]
    configuration = {"name": "new", "k": 3}
    html = render_report(
        evaluated, [compare(new, old, resamples=50)], configurations=[configuration]
    )
    page = Page(html)
    plots = page.named("svg")
    assert len(plots) == 7  # four with both policies, a histogram of each, and the comparison
    assert all(plot["aria-label"] for plot in plots)
    scrolled = [
        attributes
        for tag, attributes in page.tags
        if tag == "pre" or {"wide", "scroll"} & {*(attributes.get("class") or "").split()}
    ]
    assert len(scrolled) == 7  # the table, five plots, the configuration
    for area in scrolled:
        assert (area["tabindex"], area["role"]) == ("0", "region")
        assert area["aria-label"]


def test_text_has_the_contrast_that_wcag_asks_for() -> None:
    style = Page(page_of(episodes([0.5]))).contents["style"][-1]
    light, dark = (dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in _themes(style))
    for theme in (light, {**light, **dark}):
        for text in ("ink", "soft", "accent", "good", "bad"):
            for ground in ("paper", "card", "wash"):
                assert contrast(theme[text], theme[ground]) >= 4.5, (text, ground)
        for tone in ("low", "mid", "high"):
            assert contrast(theme["ink"], mixed(theme[tone], theme["card"], 0.3)) >= 4.5, tone
        for verdict in ("good", "bad"):
            assert contrast(theme[verdict], mixed(theme[verdict], theme["card"], 0.15)) >= 4.5


def _themes(style: str) -> tuple[str, str]:
    light, _, rest = style.partition("@media (prefers-color-scheme: dark)")
    return light, rest.partition("\n}\n")[0]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def mixed(colour: str, ground: str, share: float) -> str:
    """A colour of which a share covers the ground, as ``color-mix(in srgb, …)`` makes it."""
    parts = ((int(colour[at : at + 2], 16), int(ground[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round(share * top + (1 - share) * below):02x}" for top, below in parts)


def test_the_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert mixed("#ff0000", "#ffffff", 0.5) == "#ff8080"


def asked(*completions: Completion) -> Episode:
    """An episode whose steps were each written by a model."""
    steps = tuple(StepRecord(Action("Hi", completion=each)) for each in completions)
    return episode(msgspec.structs.replace(turn(), steps=steps))


def test_what_a_model_took_is_added_up() -> None:
    use = model_use(
        [
            asked(
                Completion("", "m", Usage(100, 10), 0.25, 1.0),
                Completion("", "m", Usage(300, 20), None, 3.0),
            ),
            asked(Completion("", "n", None, 0.5, None)),
        ]
    )
    assert use is not None
    assert use.models == ("m", "n")
    assert use.spending == Spending(3, 400, 30, 0.75, 1)
    assert use.latency_s == 2.0
    assert use.slow_latency_s == pytest.approx(2.9)
    assert model_use(episodes([0.5])) is None


def test_tokens_cost_latency_and_configuration_are_on_the_page() -> None:
    played = [asked(Completion("", "gemini/g", Usage(1200, 34), 0.5, 1.25))]
    html = render_report(
        [(summarize(played, resamples=10), played)],
        configurations=[{"name": "llm", "temperature": 0.25}],
    )
    page = Page(html)
    facts = [" ".join(text.split()) for text in page.contents["dd"]]
    assert {"gemini/g", "1", "1,200", "34", "$0.5000", "1.25 s, 1.25 s"} <= {*facts}
    assert '"temperature": 0.25' in "".join(page.contents["pre"])
    assert 'id="policies"' not in page_of(episodes([0.5]))


def test_a_configuration_is_shown_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-of-the-environment")
    config = {
        "name": "llm",
        "api_base": "https://user:canary@canary@host.example:8000/v1?api_key=canary",
        "extra": {"headers": ["canary-of-the-environment"]},
    }
    written = public_configuration(config)
    assert "canary" not in written
    assert '"https://host.example:8000/v1"' in written
    json.loads(written)


AXE = os.environ.get("AGENT_GYM_AXE", "")


@pytest.mark.skipif(not shutil.which("chromium"), reason="no chromium on this machine")
@pytest.mark.skipif(not Path(AXE).is_file(), reason="AGENT_GYM_AXE names no axe.min.js (axe-core)")
@pytest.mark.parametrize("options", [(), ("--blink-settings=preferredColorScheme=0",)])
@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing(tmp_path: Path, width: int, options: tuple[str, ...]) -> None:
    record = turn(0.5, made=[call(city="x")], due=due(city="y"), components={"part": 0.5})
    new, old = ([episode(record, turn(0.0, says=""), policy=name)] for name in ("new", "old"))
    evaluated = [(summarize(group, resamples=10), group) for group in (new, old)]
    html = render_report(
        evaluated,
        [compare(new, old, resamples=50)],
        configurations=[{"name": "new", "k": 3}],
    )
    run = "axe.run().then((found) => { document.title = JSON.stringify(found.violations); });"
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    page = tmp_path / "report.html"
    axe = Path(AXE).read_text("utf-8")
    page.write_text(f"{html}<script>{axe}</script><script>{run}</script>", "utf-8")
    shown = (*options, f"--window-size={width},900", "--virtual-time-budget=60000")
    (title,) = Page(_rendered(shutil.which("chromium") or "", page, *shown)).contents["title"][:1]
    assert json.loads(title) == []


def _rendered(chromium: str, page: Path, *options: str) -> str:
    command = [chromium, "--no-sandbox", "--headless", "--disable-gpu", "--dump-dom", *options]
    run = subprocess.run(
        [*command, page.as_uri()], capture_output=True, timeout=PROCESS_S, check=True, text=True
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
