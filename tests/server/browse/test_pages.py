import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode
from tests.evaluation.episode_factory import call, due, episode, episodes, hostile_episode, turn
from tests.server.browse.recorded_runs import CONFIG, write_run

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")
pages = pytest.importorskip("agent_gym_env.server.browse.pages")

PARTIAL = {"HX-Request": "true"}
RESULTS = {**PARTIAL, "HX-Target": "div#results"}

Open = Callable[[Path], Any]


@pytest.fixture
def browse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Return a client of the pages of a folder."""
    monkeypatch.setenv("AGENT_GYM_HOME", str(tmp_path / "home"))
    # A slow machine shows whole pages, too.
    monkeypatch.setattr(pages, "_PATIENCE_S", 60.0)

    def client_of(folder: Path) -> Any:
        app = fastapi.FastAPI()
        pages.add_pages(app, folder)
        return testclient.TestClient(app)

    return client_of


class Elements(HTMLParser):
    """Elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [str(each["href"]) for tag, each in self.found if tag == "a" and "data-item" in each]


def links(page: str) -> list[str]:
    return Elements(page).links()


def opened(page: str) -> Any:
    """Return the episode that a page shows."""
    (shown,) = [each for tag, each in Elements(page).found if tag == "agent-episode"]
    return json.loads(str(shown["data-episode"]))


def test_the_runs_of_a_folder_are_listed_and_found(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "runs" / "first", episodes([0.5]))
    write_run(tmp_path / "runs" / "second", episodes([0.5]), config={**CONFIG, "note": "llm"})
    client = browse(tmp_path / "runs")
    listed = client.get("/view")
    assert listed.status_code == 200
    assert len(links(listed.text)) == 2
    found = client.get("/view", params={"words": "LLM"}, headers=PARTIAL)
    assert "second" in found.text
    assert "first" not in found.text
    assert "<html" not in found.text


def test_an_empty_folder_says_how_to_record_episodes(tmp_path: Path, browse: Open) -> None:
    assert "agent-gym rollout" in browse(tmp_path).get("/view").text


def test_a_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        pages.add_pages(fastapi.FastAPI(), tmp_path / "none")


def test_a_run_leads_to_each_of_its_episodes(tmp_path: Path, browse: Open) -> None:
    recorded = [
        episode(turn(0.25, due=due(city="Rome"), made=[call(city="Bonn")]), dialogue_id="1_00007"),
        episode(turn(0.75, says="<b>Hello</b> & welcome"), dialogue_id="1_00008"),
    ]
    write_run(tmp_path / "run", recorded)
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    page = client.get(run).text
    assert "2 episodes, reward 0.500" in Elements(page).text
    first, second = links(page)
    shown = opened(client.get(first).text)
    assert shown["dialogue_id"] == "1_00007"
    assert shown["turns"][0]["steps"][0]["action"]["tool_calls"][0]["arguments"] == {"city": "Bonn"}
    part = client.get(second, headers=PARTIAL).text
    assert "<html" not in part
    assert opened(part)["turns"][0]["steps"][0]["action"]["text"] == "<b>Hello</b> & welcome"


def test_filters_are_kept_in_every_address(tmp_path: Path, browse: Open) -> None:
    many = [episode(turn(0.5, user="Ä & b?"), dialogue_id=f"1_{n:05d}") for n in range(120)]
    write_run(tmp_path / "run", [*many, *episodes([0.9])])
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    part = client.get(run, params={"words": "ä b", "high": "0.6"}, headers=RESULTS)
    assert "120 episodes" in part.text
    assert part.headers["HX-Replace-Url"] == f"{run}?words=%C3%A4+b&high=0.6"
    (further,) = re.findall(r'href="([^"]*page=2)"', part.text)
    second = client.get(html.unescape(further))
    assert len(links(second.text)) == 50
    one = client.get(links(second.text)[0])
    assert 'value="ä b"' in one.text
    assert opened(one.text)["turns"][0]["user"] == "Ä & b?"


@pytest.mark.parametrize(
    "query",
    [
        {"low": "x"}, {"high": "nan"}, {"low": "1e999"}, {"order": "drop"}, {"kind": "x"},
        {"page": "0"}, {"page": "-1"}, {"page": "9999999999"}, {"page": "²"}, {"words": "x" * 501},
    ],
)  # fmt: skip
def test_wrong_filters_are_explained(tmp_path: Path, browse: Open, query: dict[str, str]) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    refused = client.get(run, params=query)
    assert refused.status_code == 400
    assert next(iter(query)) in Elements(refused.text).text


TRAVERSALS = (
    "..",
    "../..",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "....//",
    "\\..\\",
    "%00",
    "~",
    "/",
)


@pytest.mark.parametrize("wrong", TRAVERSALS)
def test_no_address_leads_to_a_path(tmp_path: Path, browse: Open, wrong: str) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    for address in (f"/view/runs/{wrong}", f"{run}/episodes/{wrong}", f"/view/static/{wrong}"):
        assert client.get(address).status_code in (200, 404), address
        assert "root:" not in client.get(address).text
    for name in ("words", "policy", "service", "outcome", "error", "tag"):
        assert client.get(run, params={name: wrong}).status_code == 200


def test_what_does_not_exist_is_not_found(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    for address in ("/view/runs/0123456789ab", f"{run}/episodes/7", f"{run}/episodes/x"):
        assert client.get(address).status_code == 404
        assert 'role="alert"' in client.get(address, headers=PARTIAL).text


def test_a_damaged_line_is_shown_and_the_others_work(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5], [0.6]))
    shard = tmp_path / "run" / "episodes-00000.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(lines[0].replace(b"Done", b"Gone") + lines[1])
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    page = client.get(run).text
    assert "episodes-00000.jsonl:1: this line is damaged" in Elements(page).text
    assert len(links(page)) == 1
    assert client.get(links(page)[0]).status_code == 200


def test_new_episodes_of_a_live_run_appear(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    assert len(links(client.get(run).text)) == 1
    write_run(tmp_path / "run", episodes([0.6], [0.7]), first=1)
    assert len(links(client.get(run).text)) == 3


def test_a_run_that_is_still_being_read_asks_again(
    tmp_path: Path, browse: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    monkeypatch.setattr(pages.Index, "update", lambda self: None)
    page = client.get(run)
    assert "Reading the run: 0 %" in Elements(page.text).text


def test_pages_allow_their_own_scripts_and_styles_only(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    (one,) = links(client.get(run).text)
    for address in ("/view", run, one, "/view/runs/none"):
        answer = client.get(address)
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag, attributes in Elements(answer.text).found:
            assert "style" not in attributes
            assert not [name for name in attributes if name.startswith("on")]
            assert tag != "style"
            assert tag != "script" or str(attributes["src"]).startswith("/view/static/")
            assert "://" not in str(attributes.get("src") or attributes.get("href") or "")


def test_every_file_that_pages_load_is_there(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    for tag, attributes in Elements(client.get("/view").text).found:
        address = attributes.get("src") or (attributes.get("href") if tag == "link" else None)
        if address and not address.startswith("data:"):
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


HOSTILE = (
    "<img src=x onerror=document.title='hacked'>",
    "\"'><script>document.title='hacked'</script>",
    "{{ 7 * 7 }}{% raw %}",
    "</title></textarea></agent-episode>",
    "javascript:document.title='hacked'",
    "\u2028\u202e\x00\ud7ff<!-- ]]> --!>",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(tmp_path: Path, browse: Open, text: str) -> None:
    folder = tmp_path / "runs" / text.replace("/", "_").replace("\x00", "")
    config = {**CONFIG, text: text, "policies": [{"name": text, text: text}]}
    write_run(folder, [msgspec.structs.replace(hostile_episode(text), error=None)], config=config)
    plain = write_run(tmp_path / "plain" / "run", episodes([0.5])).parent
    client, harmless = browse(tmp_path / "runs"), browse(plain)

    def tags(client: Any, address: str, **query: str) -> list[str]:
        found = Elements(client.get(address, params=query).text).found
        assert not [name for _, each in found for name in each if name.startswith("on")]
        return sorted({tag for tag, _ in found})

    (run,), (usual,) = (links(each.get("/view").text) for each in (client, harmless))
    (one,), (usual_one,) = links(client.get(run).text), links(harmless.get(usual).text)
    assert tags(client, "/view") == tags(harmless, "/view")
    assert tags(client, run) == tags(harmless, usual)
    assert tags(client, one) == tags(harmless, usual_one)
    assert opened(client.get(one).text)["turns"][0]["user"] == text
    for name in ("words", "policy", "service", "outcome", "error", "tag", "order", "low", "page"):
        found = client.get(run, params={name: text})
        assert "49" not in Elements(found.text).text.split("configuration")[0]
        assert "<script>" not in found.text
        assert "<img" not in found.text


def two_runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs" / "a", episodes([0.9], [0.2], [0.5], policy="new"))
    write_run(tmp_path / "runs" / "b", episodes([0.4], [0.6], [0.5], policy="old"))
    return tmp_path / "runs"


def chosen(client: Any) -> dict[str, list[str]]:
    return {"run": [address.rpartition("/")[2] for address in links(client.get("/view").text)]}


def test_two_runs_are_shown_side_by_side(tmp_path: Path, browse: Open) -> None:
    client = browse(two_runs(tmp_path))
    page = client.get("/view/compare", params=chosen(client))
    assert "3 dialogues played by both" in Elements(page.text).text
    assert len(links(page.text)) == 3
    pair = client.get(links(page.text)[0])
    shown = [each for tag, each in Elements(pair.text).found if tag == "agent-episode"]
    both = [json.loads(str(each["data-episode"])) for each in shown]
    assert [each["policy"] for each in both] == ["new", "old"]
    assert both[0]["dialogue_id"] == both[1]["dialogue_id"] == "1_00000"
    part = client.get(links(page.text)[0], headers=PARTIAL)
    assert len([tag for tag, _ in Elements(part.text).found if tag == "agent-episode"]) == 2
    assert "<html" not in part.text


def test_the_statistics_of_two_runs_are_shown(tmp_path: Path, browse: Open) -> None:
    client = browse(two_runs(tmp_path))
    shown = client.get("/view/compare/statistics", params=chosen(client))
    assert "+0.033" in Elements(shown.text).text
    assert "inconclusive" in Elements(shown.text).text
    write_run(tmp_path / "runs" / "b", episodes(*[[0.4]] * 4, policy="old")[3:], first=3)
    write_run(tmp_path / "runs" / "a", episodes(*[[1.0]] * 4, policy="new")[3:], first=3)
    grown = client.get("/view/compare/statistics", params=chosen(client))
    assert "+0.175" in Elements(grown.text).text


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "a", episodes([0.5]))
    write_run(tmp_path / "b", episodes([0.5], reward="<i>other</i>"))
    client = browse(tmp_path)
    shown = client.get("/view/compare/statistics", params=chosen(client)).text
    assert "reward differs" in Elements(shown).text
    assert "<i>" not in shown


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_comparison_needs_two_runs(tmp_path: Path, browse: Open, count: int) -> None:
    for name in "abc":
        write_run(tmp_path / name, episodes([0.5]))
    client = browse(tmp_path)
    refused = client.get("/view/compare", params={"run": chosen(client)["run"][:count]})
    assert refused.status_code == 400
    assert "choose two runs" in refused.text


def run_and_episode(tmp_path: Path, client: Any) -> tuple[str, str]:
    (run,) = links(client.get("/view").text)
    return run, links(client.get(run).text)[0]


def test_an_episode_is_tagged_and_noted(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5], [0.6]))
    client = browse(tmp_path)
    run, one = run_and_episode(tmp_path, client)
    address = f"{one}/remarks"
    tagged = client.post(address, data={"add_tag": "<b>odd</b>"}, headers=PARTIAL)
    assert "<b>" not in tagged.text
    assert "<b>odd</b>" in Elements(tagged.text).text
    plain = client.post(address, data={"add_note": "Look at <i>this</i>."}, follow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (303, one)
    page = client.get(one).text
    assert "Look at <i>this</i>." in Elements(page).text
    assert len(links(client.get(run, params={"tag": "<b>odd</b>"}).text)) == 1
    assert len(links(client.get(run, params={"tag": "any"}).text)) == 1
    assert len(links(client.get(run, params={"tag": "other"}).text)) == 0
    client.post(address, data={"remove_tag": "<b>odd</b>"})
    assert len(links(client.get(run, params={"tag": "<b>odd</b>"}).text)) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://["},
        {"Origin": "http://testserver.evil.example"}, {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)  # fmt: skip
def test_pages_of_other_origins_cannot_write(
    tmp_path: Path, browse: Open, headers: dict[str, str]
) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    _, one = run_and_episode(tmp_path, client)
    refused = client.post(f"{one}/remarks", data={"add_tag": "x"}, headers=headers)
    assert refused.status_code == 403
    assert not (tmp_path / "run.notes.json").exists()
    own = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    assert client.post(f"{one}/remarks", data={"add_tag": "x"}, headers=own).status_code == 200


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400), ({"drop": "x"}, 400), ({"add_tag": "a", "add_note": "b"}, 400),
        ({"add_tag": ""}, 422), ({"add_note": "x" * 10_001}, 422),
        ({"add_note": "x" * 200_000}, 413),
    ],
)  # fmt: skip
def test_wrong_forms_are_refused(
    tmp_path: Path, browse: Open, form: dict[str, str], status: int
) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    client = browse(tmp_path)
    _, one = run_and_episode(tmp_path, client)
    assert client.post(f"{one}/remarks", data=form).status_code == status
    assert not (tmp_path / "run.notes.json").exists()


def test_a_selection_is_exported(tmp_path: Path, browse: Open) -> None:
    recorded = [
        episode(turn(reward, user=f"Hello {reward}"), dialogue_id=f"1_0000{number}")
        for number, reward in enumerate((0.2, 0.6, 0.8))
    ]
    write_run(tmp_path / "my run", recorded)
    client = browse(tmp_path)
    (run,) = links(client.get("/view").text)
    answer = client.get(f"{run}/export", params={"low": "0.5"})
    assert answer.headers["Content-Disposition"] == 'attachment; filename="my-run.jsonl"'
    lines = answer.content.splitlines()
    assert [msgspec.json.decode(line, type=Episode) for line in lines] == recorded[1:]
    rows = client.get(f"{run}/export", params={"low": "0.5", "format": "sft"})
    assert [json.loads(line)["dialogue_id"] for line in rows.content.splitlines()] == [
        "1_00001", "1_00002",
    ]  # fmt: skip
    assert client.get(f"{run}/export", params={"format": "exe"}).status_code == 400


def test_only_a_server_that_plays_has_the_pages_to_play(tmp_path: Path, browse: Open) -> None:
    write_run(tmp_path / "run", episodes([0.5]))
    app = fastapi.FastAPI()
    pages.add_pages(app, tmp_path, corpora=["sample", "<b>own</b>"], plays=True)
    plays = testclient.TestClient(app)
    for path in ("/view/play", "/view/jobs"):
        shown = plays.get(path)
        assert shown.status_code == 200
        assert "<b>" not in shown.text
        assert path in plays.get("/view").text
        assert browse(tmp_path).get(path).status_code == 404
        assert path not in browse(tmp_path).get("/view").text
