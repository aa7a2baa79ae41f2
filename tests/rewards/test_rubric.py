from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent_gym_env.assembly import make_env
from agent_gym_env.corpus.task import Turn
from agent_gym_env.errors import DataError
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rewards.criteria_file import read_criteria
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.rewards.judge_prompt import make_case
from agent_gym_env.rewards.rubric import MAX_VERDICT_TOKENS, Criterion
from agent_gym_env.testing import check_reward
from tests.lm.server import LMServer
from tests.log_corpora import TASKS, AirlineLog
from tests.rewards.injections import injections
from tests.rewards.judge_stubs import outside, read_case, verdict

TEXT = """
# An assistant of an airline
policy (weight 3): Does it keep the rules: no refunds?
kind: Is it kind?
"""
ENTRIES = [
    {"name": "policy", "description": "Does it keep the rules: no refunds?", "weight": 3},
    {"name": "kind", "description": "Is it kind?"},
]
TURN = ClosedTurn("No refunds, sorry.", (), Turn("A refund!", "No.", ""), None)


def written(folder: Path, text: str, name: str = "criteria.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.fixture
def criteria(tmp_path: Path) -> tuple[Criterion, ...]:
    return read_criteria(written(tmp_path, TEXT))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("criteria.txt", TEXT),
        ("criteria.md", TEXT.replace("\n", "\r\n")),
        ("criteria.json", json.dumps(ENTRIES)),
        ("criteria.txt", f"\ufeff {json.dumps(ENTRIES)}"),
    ],
)
def test_criteria_are_read_from_text_and_json(tmp_path: Path, name: str, text: str) -> None:
    found = read_criteria(written(tmp_path, text, name))
    assert [(each.name, each.question, each.weight) for each in found] == [
        ("policy", "Does it keep the rules: no refunds?", 3.0),
        ("kind", "Is it kind?", 1.0),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file is empty"),
        ("# nothing", "expected 1 to 16 criteria, found 0"),
        ("".join(f"c{number}: x\n" for number in range(17)), "expected 1 to 16 .*, found 17"),
        ("be kind", r"expected 'name: description' .* found 'be kind' \(file .*, at line 1\)"),
        ("kind:", "kind: expected a description of 1 to 2,000 characters, found 0 characters"),
        (f"kind: {'x' * 2001}", "found 2,001 characters"),
        ("Kind: x", "expected a name of at most 40 small letters, .* found 'Kind'"),
        ("kind: x\n\nkind: y", r"the name 'kind' is there twice; .*line 3"),
        ("case: x", "the name 'case' has another meaning"),
        ("disagreement: x", "has another meaning"),
        ("kind (weight two): x", "expected a number as weight, found 'two'"),
        ("kind (weight 0): x", "kind: expected a weight that is a number above 0, found 0"),
        ("kind (weight nan): x", "number above 0, found nan"),
        ("[", "not JSON: "),
        ('{"kind": "x"}', r"expected a list, found an object; the file must be a list of"),
        ('[{"name": "kind"}]', r"the field 'description' is missing; .* at /0\)"),
        ('[{"name": 1, "description": "x"}]', r"expected a string, found .*at /0/name"),
        ('[{"name": "a", "describtion": "x", "description": "y"}]', "unknown field 'describtion'"),
        ('[{"name": "a", "description": "x", "weight": -1}]', r"above 0, found -1 .*at /0\)"),
    ],
)
def test_an_error_in_the_file_says_what_was_expected(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        read_criteria(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_criteria(tmp_path / "none.txt")
    path = tmp_path / "latin.txt"
    path.write_bytes(b"kind: caf\xe9")
    with pytest.raises(DataError, match="not UTF-8"):
        read_criteria(path)


def test_the_reward_is_the_weighted_mean_of_the_levels_in_four(
    criteria: tuple[Criterion, ...],
) -> None:
    case = make_case(TURN, with_reference=True, criteria=criteria)
    lm = ScriptedLM([verdict(case.number, {"policy": 4, "kind": 0})])
    reward = JudgeReward(lm, criteria=criteria)
    score = reward.score(TURN)
    assert reward.name == "rubric"
    assert reward.parts == ("policy", "kind", "disagreement")
    assert score.value == 0.75
    assert score.components == {"policy": 1.0, "kind": 0.0, "disagreement": None}
    assert score.reason == "policy 4 of 4, kind 0 of 4: By the rules."
    assert lm.requests[0].max_tokens == MAX_VERDICT_TOKENS + 64
    assert read_case(lm.requests[0].messages)[2] == ["policy", "kind"]


def test_votes_differ_by_their_weighted_means(criteria: tuple[Criterion, ...]) -> None:
    number = make_case(TURN, with_reference=True, criteria=criteria).number
    replies = [verdict(number, {"policy": level, "kind": 4}) for level in (4, 0)]
    score = JudgeReward(ScriptedLM(replies), votes=2, criteria=criteria).score(TURN)
    assert (score.value, score.components["disagreement"]) == (0.625, 0.75)


@pytest.mark.parametrize("words", ["", "4 of 4", "[]", '{"policy": 4, "kind": 4}'])
def test_a_verdict_that_cannot_be_read_gives_no_reward(
    criteria: tuple[Criterion, ...], words: str
) -> None:
    lm = ScriptedLM([words, words])
    score = JudgeReward(lm, criteria=criteria).score(TURN)
    assert score.value is None
    assert score.components == dict.fromkeys(("policy", "kind", "disagreement"))
    assert len(lm.requests) == 2


def test_a_reply_that_speaks_to_the_judge_stays_inside_the_data(
    criteria: tuple[Criterion, ...],
) -> None:
    plain = outside(make_case(TURN, with_reference=True, criteria=criteria).messages)
    for injection in injections():
        turn = ClosedTurn(injection, (), TURN.target, None)
        messages = make_case(turn, with_reference=True, criteria=criteria).messages
        assert outside(messages) == plain


def test_the_judge_sees_all_recorded_calls_of_a_turn() -> None:
    turn = ClosedTurn("", (), TASKS[1].turns[1], None)
    document = read_case(make_case(turn, with_reference=True).messages)[1]
    assert document["reference"]["calls"] == [
        {"call": "cancel", "arguments": {"booking": "R7", "fee": 0.5}},
        {"result": {"status": "success", "results": "Refunded 88.00 to the card"}},
        {"call": "cancel", "arguments": {"booking": "X1"}},
        {"result": {"status": "error", "results": {"message": "no such booking"}}},
    ]


def test_the_preset_grades_a_log_by_the_criteria_of_a_file(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs it: pip install -e '.[local]'")

    def grade(messages: list[dict[str, str]]) -> str:
        number, document, names = read_case(messages)
        reply = document["candidate"]["reply"]
        return verdict(number, dict.fromkeys(names, 4 if reply and "Hm" not in reply else 0))

    with LMServer(lambda request: grade(list(request.messages))) as server:
        config = {
            "name": "rubric", "file": str(written(tmp_path, TEXT)),
            "client": "local", "model": "judge", "api_base": server.openai_base,
        }  # fmt: skip
        env = make_env(env="Traces-v0", corpus=AirlineLog(), reward=config)
        env.reset(options={"dialogue_id": "lisbon"})
        _, reward, _, _, info = env.step("With pleasure.")
        assert (reward, info["reward_components"]["policy"]) == (1.0, 1.0)
        check_reward(config, env, dialogues=2)
        server.agent = lambda request: "Four of four!"
        _, reward, _, _, info = env.step("Hm.")
        assert (reward, info["reward_valid"]) == (0.0, False)


def test_a_wrong_file_is_reported_before_the_model_is_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read"):
        make_env(reward={"name": "rubric", "file": str(tmp_path / "none.txt"), "model": "a/b"})
    with pytest.raises(ValueError, match="needs the option 'file'"):
        make_env(reward="rubric")
