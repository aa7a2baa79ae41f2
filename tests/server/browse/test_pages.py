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
from tests.evaluation.episode_factory import call, due, episode, episodes, turn
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


def hostile_episode(text: str) -> Episode:
    """Return an episode with a text in each of its fields that can hold one."""
    plain = msgspec.to_builtins(
        episode(
            turn(
                0.5,
                due=due(text, **{text: text}),
                made=[call(text, **{text: [text, {text: text}]})],
                components={text: 0.5},
                reason=text,
                says=text,
                recorded=text,
                user=text,
                service=text,
                action_error=text,
            ),
            dialogue_id=text,
            split=text,
            corpus=text,
            policy=text,
            reward=text,
            error=f"{text}: {text}",
            schema_variant=text,
            seen_services=(text,),
            system=text,
        )
    )
    return msgspec.convert(plain, Episode)


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
