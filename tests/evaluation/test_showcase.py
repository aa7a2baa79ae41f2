import json
from typing import Any

import msgspec

from agent_gym_env.evaluation import showcase as module
from agent_gym_env.evaluation.showcase import choose_episodes, showcase
from agent_gym_env.rollout.episode import Episode, StepRecord
from agent_gym_env.types import Action, Completion, ToolCall, Usage
from tests.evaluation.episode_factory import call, episode, episodes, turn


def shown(*groups: list[Episode], limit: int = 50) -> list[dict[str, Any]]:
    names = [f"policy {number}" for number in range(len(groups))]
    return list(json.loads(showcase(groups, names, limit).json)["shown"])


def ids(pairs: list[tuple[int, Episode]]) -> list[str]:
    return [episode.dialogue_id for _, episode in pairs]


def test_the_worst_and_the_best_are_shown_and_the_rest_evenly_between() -> None:
    played = episodes(*[[number / 10] for number in (3, 9, 0, 6, 10, 1, 2)])
    chosen = choose_episodes([played], 3)
    assert [episode.turns[0].reward for _, episode in chosen] == [0.0, 0.3, 1.0]


def test_an_episode_without_any_reward_is_shown_first() -> None:
    chosen = choose_episodes([episodes([0.0], [None], [1.0])], 2)
    assert ids(chosen) == ["1_00001", "1_00002"]


def test_every_policy_is_shown_on_the_same_dialogues() -> None:
    groups = [episodes(*[[number / 9] for number in range(10)], policy=name) for name in "abc"]
    chosen = choose_episodes(groups, 6)
    assert [(number, episode.dialogue_id) for number, episode in chosen] == [
        (0, "1_00000"), (1, "1_00000"), (2, "1_00000"),
        (0, "1_00009"), (1, "1_00009"), (2, "1_00009"),
    ]  # fmt: skip


def test_a_limit_beyond_what_there_is_shows_all() -> None:
    assert len(shown(episodes([0.1], [0.2]))) == 2


def test_an_episode_is_shown_in_the_trace_format() -> None:
    played = episode(turn(0.5, made=[call(city="Lisbon")], components={"slot_values": None}))
    (entry,) = shown([played])
    assert entry["policy"] == 0
    assert msgspec.convert(entry["episode"], Episode) == played


def test_the_tools_on_offer_and_raw_completions_are_left_out() -> None:
    completion = Completion(
        "<think>secret</think>Hi",
        model="m",
        usage=Usage(10, 2),
        cost_usd=0.5,
        latency_s=1.5,
        token_ids=(987654, 1),
    )
    record = msgspec.structs.replace(turn(), steps=(StepRecord(Action("Hi", (), completion)),))
    played = [[episode(record, tools='[{"function":{"name":"many tools"}}]')]]
    written = showcase(played, ["agent"], 1).json
    assert "secret" not in written
    assert "987654" not in written
    assert "many tools" not in written
    (entry,) = shown(*played)
    assert entry["episode"]["turns"][0]["steps"][0]["action"]["completion"] == {
        "model": "m",
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
        "cost_usd": 0.5,
        "latency_s": 1.5,
    }


def opened(*played: Episode) -> str:
    """The dialogue that a page about these episodes opens on."""
    found = json.loads(showcase([played], ["agent"], 50).json)
    return str(found["shown"][found["open"]]["episode"]["dialogue_id"])


def test_the_page_opens_on_the_episode_whose_turns_differ_most_where_a_tool_is_called() -> None:
    silent = episode(turn(0.0, says=""), turn(0.0, says=""), dialogue_id="silent")
    talks = episode(turn(0.0), turn(1.0), dialogue_id="talks")
    even = episode(turn(0.5, made=[call()]), turn(0.5), dialogue_id="even")
    mixed = episode(turn(0.9, made=[call()]), turn(0.2), dialogue_id="mixed")
    failed = episode(turn(1.0, made=[call()]), turn(0.0), dialogue_id="failed", error="E: no")
    unscored = episode(turn(None, made=[call()]), dialogue_id="unscored")
    assert opened(silent, talks, even, mixed, failed, unscored) == "mixed"
    assert opened(silent, talks, failed) == "talks"
    assert opened(failed) == "failed"
    assert opened(silent, unscored) == "unscored"


def test_a_long_text_is_clipped_and_says_by_how_much() -> None:
    (entry,) = shown([episode(turn(says="x" * 5_000))])
    assert entry["episode"]["turns"][0]["steps"][0]["action"]["text"].endswith("x … (1000 more)")


def test_what_does_not_fit_is_left_out(monkeypatch: Any) -> None:
    big, small = episode(turn(0.0, says="x" * 3_000)), episode(turn(1.0), dialogue_id="1_00001")
    monkeypatch.setattr(module, "MAX_DATA_BYTES", 2_000)
    found = showcase([[big, small]], ["agent"], 50)
    assert found.episodes == 1
    assert json.loads(found.json)["shown"][0]["episode"]["dialogue_id"] == "1_00001"


def test_nothing_that_was_said_can_end_the_script_element() -> None:
    hostile = "</script><!--<script>&"
    played = episode(
        turn(says=hostile, made=[ToolCall(hostile, {hostile: [{hostile: 1}]})]), policy=hostile
    )
    written = showcase([[played]], [hostile], 1).json
    assert not set("<>&") & set(written)
    assert json.loads(written)["policies"] == [hostile]


def test_a_lone_surrogate_does_not_stop_the_report() -> None:
    (entry,) = shown([episode(turn(says="a\ud800b"))])
    assert entry["episode"]["turns"][0]["steps"][0]["action"]["text"] == "a?b"
