"""A leaderboard shows right results only, by benchmark, and their text as text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.benchmark import (
    new_manifest,
    read_leaderboard,
    read_result,
    run_benchmark,
    write_leaderboard,
)
from agent_gym_env.benchmark.leaderboard import as_html, as_markdown, tables
from agent_gym_env.benchmark.result import write_result
from agent_gym_env.benchmark.run import RESULT
from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.types import Action, Observation
from tests.timing import PROCESS_S

HOSTILE = (
    "</script><script>document.title='hacked'</script>",
    "<img src=x onerror=\"document.title='hacked'\">",
    "</style><svg onload=document.title='hacked'>",
    "{{ 7 * 7 }}{% raw %}",
    "[x](javascript:document.title='hacked') | `code` | <b>",
    "\u202egnp.exe\u2028 \x1b[2J",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two policies in one benchmark, and of one in another."""
    folder = tmp_path_factory.mktemp("results")
    simulated = new_manifest(
        "simulated", env="SGDSim-v0", split="dev", episodes=3, trials=2, understanding="acts"
    )
    recorded = new_manifest("recorded", split="dev", episodes=3)
    run_benchmark(simulated, "silent", folder / "silent")
    run_benchmark(simulated, "acts-oracle", folder / "oracle", note="is told the user's acts")
    run_benchmark(recorded, "silent", folder / "recorded")
    shutil.copy(folder / "recorded" / RESULT, folder / "named.json")
    shutil.rmtree(folder / "recorded")
    return folder


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(results, tmp_path / "copy"))


def test_each_benchmark_has_a_table_with_the_best_first(results: Path) -> None:
    found = read_leaderboard(results)
    assert [board.manifest.name for board in found.boards] == ["recorded", "simulated"]
    assert [[each.label for each in board.entries] for board in found.boards] == [
        ["silent"], ["acts-oracle", "silent"],
    ]  # fmt: skip
    simulated = found.boards[1]
    assert simulated.entries[0].behind is None
    assert simulated.entries[1].behind is not None
    assert simulated.entries[1].behind.difference == -1.0
    assert found.left_out == ()
    assert [each.header[0] for each in tables(simulated)] == ["policy"] * 3
    assert tables(simulated)[1].header == ("policy", "pass^1", "pass^2")


def test_benchmarks_of_one_name_and_other_contents_are_not_in_one_table(copy: Path) -> None:
    manifest = read_result(copy / "silent" / RESULT).manifest
    other = msgspec.structs.replace(manifest, seed=manifest.seed + 1)
    run_benchmark(other, "acts-oracle", copy / "other")
    boards = read_leaderboard(copy).boards
    assert [board.manifest.name for board in boards] == ["recorded", "simulated", "simulated"]
    assert sorted(len(board.entries) for board in boards[1:]) == [1, 2]
    assert len({board.manifest_hash for board in boards}) == 3


def test_a_file_that_is_not_right_is_left_out_and_named(copy: Path) -> None:
    text = (copy / "silent" / RESULT).read_text()
    assert '"strict":false' in text
    (copy / "silent" / RESULT).write_text(text.replace('"strict":false', '"strict":true', 1))
    (copy / "junk.json").write_text("[]")
    (copy / "link.json").symlink_to("/dev/zero")
    found = read_leaderboard(copy)
    left_out = {each.file: "; ".join(each.reasons) for each in found.left_out}
    assert left_out.keys() == {"silent/result.json", "junk.json", "link.json"}
    assert "its hash does not match" in left_out["silent/result.json"]
    assert "figures.estimates.strict.mean" in left_out["silent/result.json"]
    assert "not the result of a benchmark" in left_out["junk.json"]
    assert "is not a regular file" in left_out["link.json"]
    assert [len(board.entries) for board in found.boards] == [1, 1]
    assert "junk.json" in as_html(found)


def test_a_folder_without_results_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 1 to 10,000 results"):
        read_leaderboard(tmp_path)
    with pytest.raises(DataError, match="expected a folder of results, found none"):
        read_leaderboard(tmp_path / "none")


@pytest.fixture
def hostile(copy: Path) -> Path:
    """Results of strangers who wrote into every text that there is."""
    for number, text in enumerate(HOSTILE):
        for source in ("oracle", "silent"):
            result = read_result(copy / source / RESULT)
            policy = msgspec.structs.replace(
                result.policy, name=text, configuration={"name": text, text: [text]},
                models=(text,), versions={text: text}, code={text: "0" * 64},
                files={text: "0" * 64},
            )  # fmt: skip
            manifest = msgspec.structs.replace(
                result.manifest, name=text, description=text, corpus=text, version=text,
                reward={"name": text}, options={"user": {"name": text}},
            )  # fmt: skip
            result = msgspec.structs.replace(
                result, label=text, note=text, policy=policy, manifest=manifest,
                manifest_hash=manifest.hash,
            )  # fmt: skip
            write_result(result.with_hash(), copy / f"hostile-{source}-{number}.json")
    (copy / "<b>name.json").write_text("{}")
    return copy


class Page(HTMLParser):
    """The elements of a page, and the text of its style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.style = ""
        self._open = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._open = tag

    def handle_data(self, data: str) -> None:
        if self._open == "style" and not self.style:
            self.style = data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.tags if each == tag]


def test_the_text_of_results_makes_no_element(hostile: Path) -> None:
    found = read_leaderboard(hostile)
    assert len(found.boards) == 2 + len(HOSTILE)
    html = as_html(found)
    page = Page(html)
    for tag in ("script", "img", "iframe", "object", "link", "base", "form", "b"):
        assert len(page.named(tag)) == (1 if tag == "b" else 0), tag  # the name of a file
    assert len(page.named("style")) == 1
    assert not [name for _, each in page.tags for name in each if name.startswith("on")]
    assert all((each["href"] or "").startswith("#board-") for each in page.named("a"))
    assert not re.search("[\u202e\u2028\x1b]", html)


def test_the_page_runs_no_script_and_asks_nothing_of_another_host(hostile: Path) -> None:
    html = as_html(read_leaderboard(hostile))
    page = Page(html)
    (policy,) = (each["content"] or "" for each in page.named("meta") if "http-equiv" in each)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'")
    assert "script-src" not in policy
    assert "url(" not in page.style


def test_markdown_of_hostile_results_has_no_markup_of_theirs(hostile: Path) -> None:
    text = as_markdown(read_leaderboard(hostile))
    plain = re.sub(r"\\.", "", text)  # without what is escaped
    assert "<" not in plain
    assert "`" not in plain
    assert "](" not in plain
    widths = {line.count("|") for line in plain.splitlines() if line.startswith("| ")}
    assert widths == {4, 6, 13, 15}, "a cell of a table has added a column"


def test_the_page_in_a_browser_shows_every_table_and_runs_nothing(
    hostile: Path, tmp_path: Path
) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed")
    page = tmp_path / "page.html"
    write_leaderboard(hostile, page)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        capture_output=True, text=True, timeout=PROCESS_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "<title>Leaderboard · Agent Gym</title>" in done.stdout
    assert done.stdout.count("<table>") == 2 + 2 + 3 * len(HOSTILE)


def test_the_command_writes_a_page_markdown_and_json(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".html", ".md", ".json"):
        out = tmp_path / f"board{suffix}"
        assert main(["benchmark", "table", str(copy), "--out", str(out)]) == 0
        assert "acts-oracle" in out.read_text()
    assert "pass^2" in capsys.readouterr().out
    assert main(["benchmark", "table", str(copy), "--out", str(tmp_path / "x.txt")]) == 2
    capsys.readouterr()
    out = tmp_path / "b.html"
    assert main(["benchmark", "table", str(copy), "--out", str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["boards"]) == 2
    (copy / "junk.json").write_text("{}")
    assert main(["benchmark", "table", str(copy), "--out", str(out)]) == 1


def test_the_command_plays_and_says_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "m.json"
    new = ["benchmark", "new", "--name", "m", "--split", "dev", "--episodes", "2"]
    assert main([*new, "--out", str(manifest)]) == 0
    run = ["benchmark", "run", str(manifest), "--out", str(tmp_path / "out"), "--policy"]
    assert main([*run, "oracle", "--label", "O", "--note", "knows all"]) == 0
    assert "2 episodes, hash" in capsys.readouterr().out
    assert main([*run, "silent"]) == 5
    assert main(["benchmark", "run", "sgd-sampel", "--policy", "oracle", "--out", "x"]) == 2
    failing = '{"name": "tests.benchmark.test_result:Failing"}'
    other = ["benchmark", "run", str(manifest), "--out", str(tmp_path / "failing")]
    assert main([*other, "--policy", failing]) == 1
    assert "2 episodes broke off, and count as failures" in capsys.readouterr().out


class Stopping:
    """Policy that behaves as if Ctrl-C was pressed in its second dialogue."""

    name = "stopping"

    def __init__(self) -> None:
        self._dialogues = 0

    def reset(self, *, seed: int | None = None) -> None:
        self._dialogues += 1
        if self._dialogues == 2:
            raise KeyboardInterrupt

    def act(self, observation: Observation) -> Action:
        return Action("Hello.")


def test_a_run_that_is_stopped_says_how_to_resume_it_and_writes_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = "tests.benchmark.test_leaderboard:Stopping"
    run = ["benchmark", "run", "sgd-sample", "--policy", policy, "--out", str(tmp_path)]
    assert main(run) == 3
    assert "to resume, run the same command again" in capsys.readouterr().err
    assert not (tmp_path / RESULT).exists()
    assert main(run) == 3
    assert len(list(read_episodes(tmp_path / "journal"))) == 2
