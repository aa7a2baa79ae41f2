"""A check names whatever was changed in a result or its journal, and runs nothing foreign."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from agent_gym_env.benchmark import Result, check_result, new_manifest, read_result, run_benchmark
from agent_gym_env.benchmark.result import figures_of, write_result
from agent_gym_env.benchmark.run import JOURNAL, RESULT, journal_hash
from agent_gym_env.cli.main import main
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.journal.format import (
    entry_of,
    frame,
    read_manifest,
    write_manifest,
)
from tests.log_corpora import AirlineLog

Plain = dict[str, Any]
NOISE = {"acts": 0.1, "values": 0.05}
SHARD = "episodes-00000.jsonl"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of the acts oracle in simulated dialogues, some of which it does not solve."""
    folder = tmp_path_factory.mktemp("simulated")
    manifest = new_manifest(
        "s", env="SGDSim-v0", split="dev", episodes=4, trials=2, understanding="acts", noise=NOISE
    )
    run_benchmark(manifest, "acts-oracle", folder)
    return folder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run of the retrieval policy in recorded dialogues."""
    folder = tmp_path_factory.mktemp("recorded")
    run_benchmark(new_manifest("r", split="dev", episodes=4), "retrieval", folder)
    return folder


def problems(folder: Path, **arguments: Any) -> str:
    arguments = {"journal": folder / JOURNAL, **arguments}
    return "\n".join(check_result(folder / RESULT, **arguments).problems)


def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def change(folder: Path, edit: Callable[[Plain], None], *, rehash: bool = True) -> None:
    """Edit a result, and compute the hashes that anybody can compute."""
    values = msgspec.json.decode((folder / RESULT).read_bytes())
    edit(values)
    result = msgspec.convert(values, Result)
    if rehash:
        result = msgspec.structs.replace(result, manifest_hash=result.manifest.hash).with_hash()
    write_result(result, folder / RESULT)


def rewritten(folder: Path, edit: Callable[[Plain], None]) -> None:
    """Edit the first episode of a journal, with right checksums, hash and outcomes elsewhere."""
    shard = folder / JOURNAL / SHARD
    first, *others = shard.read_bytes().splitlines(keepends=True)
    record = msgspec.json.decode(first)
    entry = entry_of(first)
    for name in ("crc", *entry.__struct_fields__):
        record.pop(name, None)
    edit(record)
    shard.write_bytes(frame(entry, msgspec.json.encode(record)) + b"".join(others))
    result = read_result(folder / RESULT)
    found = msgspec.structs.replace(result, journal_hash=journal_hash(folder / JOURNAL))
    write_result(found.with_hash(), folder / RESULT)


@pytest.mark.parametrize("kind", ["simulated", "recorded"])
def test_a_result_that_is_right_has_no_problems(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    manifest = read_result(folder / RESULT).manifest
    found = check_result(folder / RESULT, journal=folder / JOURNAL, manifest=manifest)
    assert found.is_right
    assert found.problems == found.not_checked == ()
    assert any("played again and scored again" in each for each in found.checked)
    assert any("the policy named in the file" in each for each in found.cannot_prove)


def _flip(values: Plain) -> None:
    row = next(each for each in values["episodes"] if each["strict"])
    row["strict"] = False


def _swap(values: Plain) -> None:
    rows = values["episodes"]
    rows[0], rows[-1] = rows[-1], rows[0]


CHANGES: dict[str, tuple[Callable[[Plain], None], str]] = {
    "a reward": (
        lambda v: v["episodes"][0]["rewards"].__setitem__(-1, 0.99), "episodes[0].rewards",
    ),
    "a success": (_flip, "strict: false, expected true"),
    "an episode left out": (lambda v: v["episodes"].pop(), "episodes: 7, expected 8"),
    "an episode twice": (
        lambda v: v["episodes"].append(v["episodes"][0]), "episodes: 9, expected 8",
    ),
    "the order": (_swap, "or the order of these, are not the manifest's"),
    "an id": (
        lambda v: v["episodes"][0].__setitem__("dialogue_id", "1_99999"), "are not the manifest's",
    ),
    "a seed": (lambda v: v["episodes"][1].__setitem__("seed", 5), "with seed 5, expected"),
    "a mean": (
        lambda v: v["figures"]["estimates"]["strict"].__setitem__("mean", 0.5),
        "figures.estimates.strict.mean: 0.5, expected",
    ),
    "an interval": (
        lambda v: v["figures"]["pass_all"][1]["strict"].__setitem__("low", 0.9),
        "figures.pass_all[1].strict.low: 0.9",
    ),
    "a pass^k": (lambda v: v["figures"]["pass_all"].pop(), "figures.pass_all: 1 items"),
    "the failures": (lambda v: v["figures"].__setitem__("failed", 3), "figures.failed: 3"),
    "the spending": (
        lambda v: v["episodes"][0].__setitem__(
            "spending",
            {"completions": 1, "prompt_tokens": 1, "completion_tokens": 1, "cost_usd": 0.0,
             "unpriced": 1},
        ),
        "figures.spending",
    ),
    "the seed of the manifest": (lambda v: v["manifest"].__setitem__("seed", 1), "with seed"),
    "the reward of the manifest": (
        lambda v: v["manifest"].__setitem__("reward", {"name": "milestones"}),
        "journal.world.reward.name",
    ),
    "an option": (
        lambda v: v["manifest"]["options"].__setitem__("patience", 9), "journal.world.patience",
    ),
    "the split": (lambda v: v["manifest"].__setitem__("split", "test"), "journal.world.split"),
    "the policy": (
        lambda v: v["policy"]["configuration"].__setitem__("name", "gpt"),
        'policy.configuration.name: "gpt", expected "acts-oracle" in the journal',
    ),
    "a model": (
        lambda v: v["policy"]["models"].append("gpt"), "policy.models: 1 items, expected 0",
    ),
    "its name": (
        lambda v: v["policy"].__setitem__("name", "gpt"), "episodes[0]: played by 'acts-oracle'",
    ),
    "the journal's hash": (
        lambda v: v.__setitem__("journal_hash", "0" * 64), "its hash is not the one in the file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_part_is_named_even_if_the_hashes_are_right(
    simulated: Path, tmp_path: Path, name: str
) -> None:
    edit, problem = CHANGES[name]
    folder = copied(simulated, tmp_path)
    manifest = read_result(folder / RESULT).manifest
    change(folder, edit)
    assert problem in problems(folder)
    if "manifest" in name or name == "an option":
        assert "another benchmark than yours" in problems(folder, manifest=manifest)


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_part_without_new_hashes_is_named(
    simulated: Path, tmp_path: Path, name: str
) -> None:
    folder = copied(simulated, tmp_path)
    change(folder, CHANGES[name][0], rehash=False)
    found = check_result(folder / RESULT).problems
    assert "file: its hash does not match its content" in found
    if "manifest" in name:
        assert "manifest: its hash does not match its content" in found


NOT_CHECKED = ("label", "note", "policy.versions", "policy.code", "policy.files")
"""Parts of a result that nothing else tells."""


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, list[Any]]]:
    """Yield the place of each value that is not a list or an object, and the way to it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in items:
        here = f"{place}.{key}".lstrip(".")
        if isinstance(inside, dict | list):
            for deeper, way in leaves(inside, here):
                yield deeper, [key, *way]
        else:
            yield here, [key]


def other(value: Any) -> Any:
    """Return another value of the same type, if it has others."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    return 1 if value is None else value + (0.001 if isinstance(value, float) else 1)


def test_every_value_of_a_result_is_checked_but_those_that_nothing_else_tells(
    tmp_path: Path,
) -> None:
    manifest = new_manifest(
        "s", env="SGDSim-v0", split="dev", episodes=2, trials=2, understanding="acts", noise=NOISE
    )
    run_benchmark(manifest, "acts-oracle", tmp_path)
    before = (tmp_path / RESULT).read_bytes()
    missed = []
    for place, (*way, last) in list(leaves(msgspec.json.decode(before))):
        if place in ("hash", "manifest_hash"):  # which are computed again here
            continue
        if re.match(r"episodes\.[1-9]", place):  # one episode is enough
            continue
        values = msgspec.json.decode(before)
        inside = values
        for key in way:
            inside = inside[key]
        inside[last] = other(inside[last])
        (tmp_path / RESULT).write_bytes(msgspec.json.encode(values))
        try:
            change(tmp_path, lambda _: None)
            if check_result(
                tmp_path / RESULT, journal=tmp_path / JOURNAL, manifest=manifest
            ).is_right:
                missed.append(place)
        except (DataError, msgspec.ValidationError):
            continue
    assert missed
    assert [place for place in missed if not place.startswith(NOT_CHECKED)] == []


def test_every_flipped_bit_of_a_file_is_found(recorded: Path, tmp_path: Path) -> None:
    content = (recorded / RESULT).read_bytes()
    result = read_result(recorded / RESULT)
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        (tmp_path / RESULT).write_bytes(damaged)
        try:
            found = read_result(tmp_path / RESULT)
        except DataError:
            continue
        # The last digit of a number may change without a change of the number.
        assert found == result or check_result(found).problems


def _reward(record: Plain) -> None:
    record["turns"][-1]["reward"] = 1.0


def _words(record: Plain) -> None:
    record["turns"][0]["steps"][-1]["action"]["text"] = "Something else entirely."


def _target(record: Plain) -> None:
    record["turns"][0]["target"][1] = record["turns"][0]["steps"][-1]["action"].get("text", "")


def _user(record: Plain) -> None:
    record["turns"][1]["user"] = "Book it for me."


def _verdict(record: Plain) -> None:
    verdict = record["turns"][-1]["simulated"]["verdict"]
    verdict |= {"success": not verdict["success"], "strict": not verdict["strict"]}


def _acts(record: Plain) -> None:
    record["turns"][0]["steps"][-1]["action"]["acts"] = [["GOODBYE", "", ""]]


JOURNAL_CHANGES: dict[str, tuple[str, Callable[[Plain], None], str]] = {
    "reward": ("recorded", _reward, ".turns[{last}].reward: 1.0, expected"),
    "words": ("recorded", _words, ".turns[0]"),
    "target": ("recorded", _target, ".turns[0].target[1]"),
    "user": ("recorded", _user, ".turns[1].user"),
    "success": ("simulated", _verdict, ".turns[{last}].simulated.verdict.strict"),
    "acts": ("simulated", _acts, ".turns[0]"),
    "user in a simulation": ("simulated", _user, ".turns[1].user"),
    "end": ("simulated", lambda r: r.__setitem__("terminated", False), ".terminated: false"),
    "dialogue": ("recorded", lambda r: r.__setitem__("dialogue_id", "9_9"), "'9_9' with seed"),
    "seed": ("recorded", lambda r: r.__setitem__("seed", 9), "with seed 9 is not among"),
}


@pytest.mark.parametrize("name", JOURNAL_CHANGES)
def test_a_changed_episode_is_named_even_if_all_hashes_are_right(
    tmp_path: Path, request: pytest.FixtureRequest, name: str
) -> None:
    kind, edit, problem = JOURNAL_CHANGES[name]
    folder = copied(request.getfixturevalue(kind), tmp_path)
    turns: list[int] = []

    def edit_and_count(record: Plain) -> None:
        turns.append(len(record["turns"]) - 1)
        edit(record)

    rewritten(folder, edit_and_count)
    assert problem.format(last=turns[0]) in problems(folder)


def test_a_reward_that_is_forged_everywhere_is_found(recorded: Path, tmp_path: Path) -> None:
    folder = copied(recorded, tmp_path)
    rewritten(folder, _reward)

    def forge(values: Plain) -> None:
        values["episodes"][0]["rewards"][-1] = 1.0

    change(folder, forge)
    result = read_result(folder / RESULT)
    figures = figures_of(result.manifest, result.episodes)
    write_result(msgspec.structs.replace(result, figures=figures).with_hash(), folder / RESULT)
    assert check_result(folder / RESULT).is_right  # a file that is right in itself
    (found,) = check_result(folder / RESULT, journal=folder / JOURNAL).problems
    assert ".reward: 1.0, expected" in found


def _deep(record: Plain) -> None:
    arguments: Plain = {}
    for _ in range(300):
        arguments = {"a": arguments}
    call = {"name": "Hotels_1-FindHotel", "arguments": arguments}
    record["turns"][0]["steps"][0] = {
        "action": {"text": "", "tool_calls": [call]}, "tool_result": "[{}]",
    }  # fmt: skip


def _other_results(record: Plain) -> None:
    record["turns"][0]["steps"][0]["tool_result"] = "["


@pytest.mark.parametrize("edit", [_deep, _other_results])
def test_a_record_that_nobody_played_is_named(
    recorded: Path, tmp_path: Path, edit: Callable[[Plain], None]
) -> None:
    folder = copied(recorded, tmp_path)
    rewritten(folder, edit)
    assert problems(folder)


def test_a_configuration_of_a_journal_may_hold_anything(recorded: Path, tmp_path: Path) -> None:
    folder = copied(recorded, tmp_path)
    journal = read_manifest(folder / JOURNAL)
    assert journal is not None
    config: Plain
    for config in ({}, {"policies": 1, "world": []}, {"policies": [1], "world": {"env": {}}}):
        write_manifest(folder / JOURNAL, msgspec.structs.replace(journal, config=config))
        assert "policy.configuration" in problems(folder)


def test_damage_to_a_journal_is_named(simulated: Path, tmp_path: Path) -> None:
    folder = copied(simulated, tmp_path)
    shard = folder / JOURNAL / SHARD
    lines = shard.read_bytes().splitlines(keepends=True)
    shard.write_bytes(b"".join(lines[:-1]))
    assert "has 7 lines, and had 8" in problems(folder)
    shard.write_bytes(b"".join(lines).replace(b'"reward":', b'"rewarb":', 1))
    assert "its checksum differs" in problems(folder)
    shutil.rmtree(folder / JOURNAL)
    with pytest.raises(DataError):
        problems(folder)


def test_without_the_corpus_the_outcomes_are_compared_with_the_journal(
    recorded: Path, tmp_path: Path
) -> None:
    folder = copied(recorded, tmp_path)
    change(folder, lambda values: values["manifest"].__setitem__("corpus", "theirs"))
    found = check_result(folder / RESULT, journal=folder / JOURNAL)
    assert found.is_right
    assert any("say with --corpus where it is" in each for each in found.not_checked)
    assert check_result(folder / RESULT, journal=folder / JOURNAL, corpus="sample").is_right
    change(folder, lambda values: values["episodes"][0]["rewards"].__setitem__(0, 0.9))
    assert "episodes[0].rewards[0]: 0.9" in problems(folder)


@pytest.mark.parametrize("part", ["reward", "user", "tool_backend", "reward file"])
def test_what_a_strangers_manifest_names_is_not_imported_or_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, part: str
) -> None:
    canary = tmp_path / "ran"
    (tmp_path / "strangers_code.py").write_text(f"open({str(canary)!r}, 'w').close()")
    monkeypatch.syspath_prepend(str(tmp_path))
    is_user = part == "user"
    folder = copied(request.getfixturevalue("simulated" if is_user else "recorded"), tmp_path)
    config: Plain = {"name": "strangers_code:Thing"}
    if part == "reward file":
        config = {"name": "rubric", "file": "/etc/hostname", "api_base": "http://127.0.0.1:9"}

    def name_it(values: Plain) -> None:
        if part.startswith("reward"):
            values["manifest"]["reward"] = config
        else:
            values["manifest"]["options"][part] = config

    change(folder, name_it)
    found = check_result(folder / RESULT, journal=folder / JOURNAL)
    assert not found.is_right  # the journal's environment is another one
    assert any(
        "is code or a language model that the manifest names" in e for e in found.not_checked
    )
    assert not canary.exists()


def test_a_reward_of_ones_own_is_checked_if_its_manifest_is_named(tmp_path: Path) -> None:
    manifest = new_manifest(
        "own", split="dev", episodes=2, reward="tests.benchmark.test_check:Brevity"
    )
    run_benchmark(manifest, "oracle", tmp_path)
    result, journal = tmp_path / RESULT, tmp_path / JOURNAL
    assert check_result(result, journal=journal).not_checked
    assert check_result(result, journal=journal, manifest=manifest).not_checked == ()
    rewritten(tmp_path, lambda record: record["turns"][0].__setitem__("reward", 0.125))
    change(tmp_path, lambda values: values["episodes"][0]["rewards"].__setitem__(0, 0.125))
    found = check_result(result, journal=journal, manifest=manifest).problems
    assert any(".turns[0].reward: 0.125, expected" in each for each in found)


class Brevity:
    """Reward for short replies."""

    name = "brevity"
    parts = ()

    def score(self, turn: Any) -> Any:
        from agent_gym_env import Score

        return Score(1 / (1 + len(turn.text)), {})


def test_the_command_prints_what_was_found_and_says_so_by_its_code(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(simulated, tmp_path)
    command = ["benchmark", "check", str(folder / RESULT), "--journal", str(folder / JOURNAL)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "does not match: nothing" in shown
    assert "no check can prove:" in shown
    change(folder, _flip)
    assert main(command) == 1
    assert "strict: false, expected true" in capsys.readouterr().out
    assert main([*command, "--json"]) == 1
    assert msgspec.json.decode(capsys.readouterr().out)["problems"]
    (folder / RESULT).write_text("{")
    assert main(command) == 4
    assert main(["benchmark", "check", str(tmp_path / "none.json")]) == 4


def test_a_benchmark_of_logs_is_played_and_checked(tmp_path: Path) -> None:
    corpus = AirlineLog()
    manifest = new_manifest("logs", env="Traces-v0", corpus=corpus, split="train")
    result = run_benchmark(manifest, "oracle", tmp_path, corpus=corpus)
    assert result.figures.estimates["exact_calls"].mean == 1.0
    found = check_result(tmp_path / RESULT, journal=tmp_path / JOURNAL, corpus=corpus)
    assert found.problems == ()
    assert "played again and scored again" in found.checked[-1]
