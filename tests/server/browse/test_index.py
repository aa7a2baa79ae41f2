import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, TurnRecord
from agent_gym_env.rollout.journal.format import Entry, frame
from agent_gym_env.server.browse.index import PAGE_SIZE, Filters, Index, Key
from agent_gym_env.server.browse.runs import RunFolder
from agent_gym_env.types import Action, Completion, Usage
from tests.evaluation.episode_factory import call, due, episode, episodes, turn
from tests.server.browse.recorded_runs import CONFIG, write_run


def index_of(root: Path, cache: Path) -> Index:
    (run,) = RunFolder(root).runs()
    return Index(run, cache)


def made(tmp_path: Path, recorded: Sequence[Episode], **options: Any) -> Index:
    write_run(tmp_path / "runs" / "run", recorded, **options)
    index = index_of(tmp_path / "runs", tmp_path / "cache")
    index.update()
    return index


def found(index: Index, **filters: object) -> list[str]:
    return [each.summary.dialogue_id for each in index.listed(Filters(**filters))]  # type: ignore[arg-type]


def test_episodes_are_listed_worst_first(tmp_path: Path) -> None:
    index = made(tmp_path, episodes([0.5, 0.7], [0.1], [None], [0.9]))
    assert found(index) == ["1_00002", "1_00001", "1_00000", "1_00003"]
    assert found(index, order="best")[0] == "1_00003"
    assert found(index, order="order") == ["1_00000", "1_00001", "1_00002", "1_00003"]
    assert found(index, order="long")[0] == "1_00000"
    figures = index.figures(Filters())
    assert (figures.episodes, figures.turns) == (4, 5)
    assert figures.reward == pytest.approx((0.6 + 0.1 + 0.9) / 3)


def test_filters_add_up(tmp_path: Path) -> None:
    hotel = episode(turn(0.2), dialogue_id="hotel")
    bus = episode(turn(0.8, service="Buses_1"), dialogue_id="bus", policy="other")
    failed = episode(turn(0.4), dialogue_id="failed", error="ValueError: no", terminated=False)
    index = made(tmp_path, [hotel, bus, failed])
    assert found(index, policy="other") == ["bus"]
    assert found(index, service="Hotels_1") == ["hotel", "failed"]
    assert found(index, service="Hotels") == []
    assert found(index, error="any") == found(index, error="ValueError") == ["failed"]
    assert found(index, outcome="failed") == ["failed"]
    assert found(index, low=0.3, high=0.5) == ["failed"]
    assert found(index, service="Hotels_1", error="any") == ["failed"]
    assert index.choices("service") == ["Buses_1", "Hotels_1"]
    assert index.choices("outcome") == ["failed", "played to the end"]


@pytest.mark.parametrize(
    ("kind", "record"),
    [
        ("missed", turn(due=due())),
        ("spurious", turn(made=[call()])),
        ("refused", turn(action_error="not_an_action")),
        ("unscored", turn(None)),
    ],
)
def test_a_kind_finds_its_episodes(tmp_path: Path, kind: str, record: TurnRecord) -> None:
    plain = episode(turn(0.5, due=due(), made=[call()]), dialogue_id="plain")
    index = made(tmp_path, [plain, episode(record, dialogue_id="odd")])
    assert found(index, kind=kind) == ["odd"]
    assert index.choices("kind") == [kind]


def test_a_search_finds_beginnings_of_words_of_both_sides(tmp_path: Path) -> None:
    asked = episode(turn(user="Is the Grüne Café open?", says="Yes."), dialogue_id="asked")
    called = episode(turn(made=[call(city="San José")], says="Certainly."), dialogue_id="called")
    index = made(tmp_path, [asked, called])
    assert found(index, words="cafe") == found(index, words="GRUN open") == ["asked"]
    assert found(index, words="jose cert") == ["called"]
    assert found(index, words="grüne certainly") == []
    assert found(index, words="?!") == []
    for odd in ('"', "NEAR(a b)", "a OR", "text:yes", "1_0*", "'; DROP TABLE words", "नमस्ते"):
        assert found(index, words=odd) in ([], ["asked"], ["called"], ["asked", "called"])


def test_pages_hold_so_many_episodes(tmp_path: Path) -> None:
    index = made(tmp_path, episodes(*[[0.5]] * (PAGE_SIZE + 3)))
    assert len(index.listed(Filters())) == PAGE_SIZE
    assert len(index.listed(Filters(), page=2)) == 3
    assert index.listed(Filters(), page=3) == []


def test_tokens_and_costs_are_added_up(tmp_path: Path) -> None:
    def said(cost_usd: float | None) -> TurnRecord:
        completion = Completion("Hi.", "model", Usage(10, 2), cost_usd)
        plain = turn(0.5)
        step = msgspec.structs.replace(plain.steps[0], action=Action("Hi.", completion=completion))
        return msgspec.structs.replace(plain, steps=(step,))

    index = made(tmp_path, [episode(said(0.25), said(None)), episode(said(0.5))])
    spending = index.figures(Filters()).spending
    assert (spending.completions, spending.prompt_tokens, spending.completion_tokens) == (3, 30, 6)
    assert (spending.cost_usd, spending.unpriced) == (0.75, 1)


def test_an_index_grows_with_its_journal(tmp_path: Path) -> None:
    index = made(tmp_path, episodes([0.5], [0.6]), shard_bytes=1)
    write_run(tmp_path / "runs" / "run", episodes([0.7], [0.8]), first=2, shard_bytes=1)
    before = index.path.stat().st_ino
    assert not index.progress().is_complete
    assert index.update().is_complete
    assert index.figures(Filters()).episodes == 4
    assert index.path.stat().st_ino == before


def test_batches_can_be_read_one_by_one(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "run", episodes([0.5], [0.6], [0.7]), shard_bytes=1)
    index = index_of(tmp_path / "runs", tmp_path / "cache")
    assert not index.update(most=1).is_complete
    assert index.figures(Filters()).episodes == 1
    assert index.update().is_complete
    assert index.figures(Filters()).episodes == 3


def test_an_unfinished_last_line_is_read_when_it_is_finished(tmp_path: Path) -> None:
    index = made(tmp_path, episodes([0.5]))
    shard = tmp_path / "runs" / "run" / "episodes-00000.jsonl"
    (later,) = episodes([0.9])
    line = frame(Entry(1), msgspec.json.encode(later))
    with shard.open("ab") as file:
        file.write(line[:50])
    assert index.update().is_complete
    assert index.figures(Filters()).episodes == 1
    assert index.problems() == []
    with shard.open("ab") as file:
        file.write(line[50:])
    assert not index.progress().is_complete
    assert index.update().is_complete
    assert index.figures(Filters()).episodes == 2


def test_another_journal_of_the_same_name_is_read_anew(tmp_path: Path) -> None:
    index = made(tmp_path, episodes([0.5], [0.6]))
    shutil.rmtree(tmp_path / "runs" / "run")
    write_run(tmp_path / "runs" / "run", episodes([0.1], [0.2], [0.3]), config=CONFIG | {"x": 1})
    index.update()
    assert found(index, order="order") == ["1_00000", "1_00001", "1_00002"]
    assert index.figures(Filters()).reward == pytest.approx(0.2)


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_a_damaged_index_is_built_again(tmp_path: Path, content: bytes) -> None:
    index = made(tmp_path, episodes([0.5]))
    index.delete()
    index.path.write_bytes(content)
    index.update()
    assert index.figures(Filters()).episodes == 1


def test_an_index_of_another_version_is_built_again(tmp_path: Path) -> None:
    index = made(tmp_path, episodes([0.5]))
    with sqlite3.connect(index.path) as database:
        database.execute("PRAGMA user_version = 999")
    database.close()
    index.update()
    assert index.figures(Filters()).episodes == 1


def test_a_damaged_line_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    recorded = episodes([0.5], [0.6], [0.7])
    write_run(tmp_path / "runs" / "run", recorded)
    shard = tmp_path / "runs" / "run" / "episodes-00000.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"Done", b"Gone")
    shard.write_bytes(b"".join([*lines, b"\xff\n", b"{}\n", b"[" * 5000 + b"\n"]))
    index = index_of(tmp_path / "runs", tmp_path / "cache")
    index.update()
    assert found(index, order="order") == ["1_00000", "1_00002"]
    assert [(each.source, each.line) for each in index.problems()] == [
        ("episodes-00000.jsonl", line) for line in (2, 4, 5, 6)
    ]
    assert index.episode(Key(2)) == recorded[2]
    with pytest.raises(DataError, match="no episode 1"):
        index.episode(Key(1))


def test_a_job_that_has_succeeded_since_is_listed_once(tmp_path: Path) -> None:
    failed = episode(turn(0.0), error="ValueError: no", terminated=False)
    index = made(tmp_path, [failed])
    assert found(index, outcome="failed") == ["1_00000"]
    write_run(tmp_path / "runs" / "run", episodes([0.9]))
    index.update()
    assert found(index, outcome="failed") == []
    assert index.figures(Filters()).episodes == 1
    assert index.figures(Filters()).reward == 0.9


def test_files_of_episodes_are_read_by_line(tmp_path: Path) -> None:
    recorded = episodes([0.5], [0.6])
    (tmp_path / "runs").mkdir()
    lines = [msgspec.json.encode(each) for each in recorded]
    (tmp_path / "runs" / "played.jsonl").write_bytes(b"\n".join([lines[0], b"", b"{", lines[1]]))
    index = index_of(tmp_path / "runs", tmp_path / "cache")
    assert index.update().is_complete
    assert [each.key for each in index.listed(Filters(order="order"))] == [Key(1), Key(4)]
    assert [each.line for each in index.problems()] == [3]
    assert index.episode(Key(4)) == recorded[1]


def test_nothing_is_written_beside_the_journal(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "run", episodes([0.5]))
    before = sorted(tmp_path.joinpath("runs").rglob("*"))
    index_of(tmp_path / "runs", tmp_path / "cache").update()
    assert sorted(tmp_path.joinpath("runs").rglob("*")) == before


def test_selected_episodes_are_read_with_their_lines(tmp_path: Path) -> None:
    recorded = episodes([0.5], [0.6], [0.7])
    index = made(tmp_path, recorded, shard_bytes=1)
    read = [each for each, _ in index.episodes(Filters(low=0.55))]
    assert read == recorded[1:]


@pytest.mark.parametrize("text", ["", "-1", "1.", "../1", "1.2.3", "٣", "9" * 40, "1e3"])
def test_what_is_not_a_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        Key.parse(text)


def test_keys_are_read_as_they_are_written() -> None:
    for key in (Key(0), Key(17), Key(17, 2)):
        assert Key.parse(str(key)) == key
