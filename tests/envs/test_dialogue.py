"""SGD-v0 keeps its turn rule, tells no more than it may, and comes back to any of its states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ResetNeeded

from agent_gym_env.corpus.task import Turn
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import DataError
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.types import Action, ToolCall
from tests.corpora import FIND_TEA, GYOKURO, ORDER_CAKE, ORDER_TEA, SENCHA, TRAIN

TEA, BLACK, MIXED = (dialogue.dialogue_id for dialogue in TRAIN)
FIND = {"name": FIND_TEA, "arguments": {"kind": "green"}}
ORDER = {"name": ORDER_TEA, "arguments": {"name": "Sencha", "grams": "50"}}
INFO_KEYS = [
    "dialogue_id", "turn", "services", "date",
    "reward_components", "reward_valid", "action_error", "target",
]  # fmt: skip


class Played:
    """An environment in one dialogue, with what its last step gave."""

    def __init__(self, env: SGDEnv, dialogue_id: str = TEA) -> None:
        self.env = env
        self.observation, self.info = env.reset(seed=0, options={"dialogue_id": dialogue_id})
        self.reward, self.terminated, self.truncated = 0.0, False, False

    def step(self, text: str = "", *calls: Any) -> dict[str, Any]:
        """Act; gives the observation."""
        action = {"text": text, "tool_calls": list(calls)}
        self.observation, self.reward, self.terminated, self.truncated, self.info = self.env.step(
            action
        )
        return self.observation

    @property
    def results(self) -> list[dict[str, Any]]:
        """The tool results of the last step."""
        decoded: list[dict[str, Any]] = json.loads(self.observation["tool_result"])
        return decoded

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        decoded: list[dict[str, Any]] = json.loads(self.observation["messages"])
        return decoded


Make = Callable[..., SGDEnv]


@pytest.fixture
def make(tiny_corpus: Path) -> Make:
    """Make environments over the tiny corpus."""
    return lambda **arguments: SGDEnv(str(tiny_corpus), **arguments)


@pytest.fixture
def played(make: Make) -> Played:
    """The tea dialogue at its beginning: four turns of the agent."""
    return Played(make())


def tool_names(observation: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in json.loads(observation["tools"])]


# The turn rule


def test_a_dialogue_begins_with_the_user_s_words(played: Played) -> None:
    assert played.observation["user"] == "I want a green tea."
    assert played.observation["tool_result"] == ""
    assert played.messages == [{"role": "user", "content": "I want a green tea."}]
    assert (played.info["turn"], played.info["target"]) == (0, None)


def test_a_call_alone_keeps_the_turn_open(played: Played) -> None:
    observation = played.step("", FIND)
    assert (observation["user"], played.reward, played.info["turn"]) == ("", 0.0, 0)
    assert played.results == [{"name": FIND_TEA, "status": "success", "results": [SENCHA, GYOKURO]}]


def test_text_alone_closes_the_turn_and_the_user_goes_on(played: Played) -> None:
    observation = played.step("There is Assam.")
    assert (observation["user"], observation["tool_result"]) == ("Send me 50 grams.", "")
    assert played.info["turn"] == 1
    # {there, is, assam} and {there, is, sencha, from, uji}: 2 of 6 words; no call where one is due.
    assert played.info["reward_components"] == {"response_similarity": 2 / 6, "tool_accuracy": 0.0}
    assert played.reward == 1 / 6


def test_text_with_calls_executes_them_and_closes_the_turn(played: Played) -> None:
    observation = played.step("There is Sencha from Uji.", FIND)
    assert (observation["user"], played.info["turn"]) == ("Send me 50 grams.", 1)
    assert played.results[0]["results"] == [SENCHA, GYOKURO]
    assert played.reward == 1.0
    assert [message["role"] for message in played.messages] == [
        "user", "assistant", "tool", "assistant", "user",
    ]  # fmt: skip


def test_neither_text_nor_call_closes_the_turn_with_an_empty_reply(played: Played) -> None:
    observation = played.step()
    assert (observation["user"], played.reward) == ("Send me 50 grams.", 0.0)
    assert played.messages[1] == {"role": "assistant", "content": ""}


def test_as_many_calls_as_a_turn_may_have_leave_it_open(played: Played) -> None:
    assert played.step("", FIND, FIND, FIND, FIND)["user"] == ""
    assert [result["status"] for result in played.results] == ["success"] * 4


@pytest.mark.parametrize("steps", [1, 5])
def test_one_call_more_is_refused_and_closes_the_turn(played: Played, steps: int) -> None:
    for _ in range(steps):
        played.step("", *[FIND] * (5 // steps))
    assert played.observation["user"] == "Send me 50 grams."
    assert played.results[-1]["status"] == "error"
    assert played.results[-1]["error"] == "tool_call_limit: at most 4 calls in one turn"
    assert played.info["action_error"] == "tool_call_limit"
    # Nothing was said; of five calls one is the right one.
    assert played.info["reward_components"] == {"response_similarity": 0.0, "tool_accuracy": 1 / 5}


def test_the_number_of_calls_is_an_argument(make: Make) -> None:
    played = Played(make(max_tool_calls_per_turn=1))
    assert played.step("", FIND)["user"] == ""
    assert played.step("", FIND)["user"] == "Send me 50 grams."


def test_the_count_of_calls_begins_anew_with_each_turn(played: Played) -> None:
    played.step("", FIND, FIND, FIND, FIND)
    played.step("Here you are.")
    assert played.step("", ORDER)["user"] == ""
    assert played.info["action_error"] is None


def test_calls_are_answered_in_their_order(played: Played) -> None:
    played.step("", ORDER, FIND)
    assert [result["name"] for result in played.results] == [ORDER_TEA, FIND_TEA]


def test_the_dialogue_is_over_after_its_last_turn(played: Played) -> None:
    for turn in range(4):
        assert not played.terminated
        played.step(f"Turn {turn}.")
    assert played.terminated
    assert not played.truncated
    assert played.observation["user"] == ""
    assert played.info["turn"] == 4


def test_a_step_after_the_end_asks_for_a_reset(played: Played) -> None:
    for _ in range(4):
        played.step("Yes.")
    with pytest.raises(ResetNeeded, match="call reset"):
        played.step("Yes.")


@pytest.mark.parametrize(
    "use", [SGDEnv.get_state, SGDEnv.recorded_action, lambda env: env.step("Hi")]
)
def test_nothing_can_be_done_before_the_first_reset(
    make: Make, use: Callable[[SGDEnv], Any]
) -> None:
    with pytest.raises(ResetNeeded, match="call reset"):
        use(make())


def test_what_is_no_action_changes_nothing(played: Played) -> None:
    before = played.env.get_state()
    for action, kind in ((7, TypeError), (None, TypeError), ({"reply": "Hi"}, ValueError)):
        with pytest.raises(kind):
            played.env.step(action)
    assert played.env.get_state() == before


# What a call is answered


def test_an_identical_call_is_answered_as_its_own_turn_recorded(played: Played) -> None:
    answers = []
    for text in ("a", "b", "c"):
        played.step(text, ORDER)
        answers.append((played.results[0]["status"], len(played.results[0]["results"])))
    # In turn 0 nothing is recorded of it: the database knows the order that succeeded.
    assert answers == [("success", 1), ("failure", 0), ("success", 1)]


def test_a_bare_intent_is_understood_where_only_one_service_has_it(played: Played) -> None:
    played.step("", {"name": "FindTea", "arguments": {"kind": "green"}})
    assert played.results[0]["name"] == FIND_TEA
    assert played.messages[1]["tool_calls"][0]["function"]["name"] == FIND_TEA


def test_a_bare_intent_of_two_services_is_ambiguous(make: Make) -> None:
    played = Played(make(), MIXED)
    played.step("", {"name": "Order", "arguments": {}})
    error = played.results[0]["error"]
    assert error.startswith("ambiguous_tool: ")
    assert ORDER_TEA in error
    assert ORDER_CAKE in error


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ({"name": "Teas_1-Brew"}, "unknown_tool"),
        ({"name": ORDER_CAKE, "arguments": {}}, "unknown_tool"),
        ({"name": FIND_TEA, "arguments": {}}, "missing_argument"),
        ({"name": FIND_TEA, "arguments": {"kind": "green", "sugar": "2"}}, "unknown_argument"),
        ({"name": FIND_TEA, "arguments": {"kind": "blue"}}, "invalid_value"),
        ({"name": FIND_TEA, "arguments": {"kind": ["green"]}}, "invalid_value"),
        ({"name": FIND_TEA, "arguments": []}, "malformed_tool_call"),
    ],
)
def test_a_wrong_call_is_told_so_and_the_turn_stays_open(
    played: Played, call: dict[str, Any], code: str
) -> None:
    assert played.step("", call)["user"] == ""
    [result] = played.results
    assert result["status"] == "error"
    assert result["error"].startswith(f"{code}: ")
    assert "results" not in result
    assert (played.info["action_error"], played.terminated) == (code, False)


def test_the_first_problem_of_a_step_is_its_code(played: Played) -> None:
    played.step("x" * 70_000, {"name": "Teas_1-Brew"})
    assert played.info["action_error"] == "text_too_long"
    assert len(played.messages[-2]["content"]) == 65_536
    played.step("", {"name": "Teas_1-Brew"}, {"name": FIND_TEA})
    assert played.info["action_error"] == "unknown_tool"
    played.step("Fine.")
    assert played.info["action_error"] is None


# Observations


def test_messages_are_extended_and_never_rewritten(played: Played) -> None:
    before = played.observation["messages"]
    for action in (("", FIND), ("Sencha?",), (), ("", ORDER, FIND), ("Done.", ORDER), ("Bye.",)):
        after = played.step(*action)["messages"]
        assert after.startswith(before.removesuffix("]") + ",")
        before = after
    assert played.terminated


def test_messages_are_a_chat_that_openai_s_api_takes(played: Played) -> None:
    played.step("", FIND, {"name": "Teas_1-Brew"})
    played.step("Sencha.", ORDER)
    calls = [call for message in played.messages for call in message.get("tool_calls", ())]
    answers = [message for message in played.messages if message["role"] == "tool"]
    assert [call["id"] for call in calls] == ["call_0", "call_1", "call_2"]
    assert [answer["tool_call_id"] for answer in answers] == [call["id"] for call in calls]
    assert all(call["type"] == "function" for call in calls)
    assert json.loads(calls[0]["function"]["arguments"]) == {"kind": "green"}
    assert [json.loads(answer["content"])["status"] for answer in answers] == [
        "success", "error", "success",
    ]  # fmt: skip
    assert [message["content"] for message in played.messages if "tool_calls" in message] == [
        None,
        None,
    ]


def test_the_tools_of_the_dialogue_s_services_are_on_offer(make: Make) -> None:
    assert tool_names(Played(make(), TEA).observation) == [FIND_TEA, ORDER_TEA]
    assert tool_names(Played(make(), MIXED).observation) == [FIND_TEA, ORDER_TEA, ORDER_CAKE]


def test_the_tools_of_every_service_can_be_offered(make: Make) -> None:
    played = Played(make(tools_offered="all"), TEA)
    assert tool_names(played.observation) == [FIND_TEA, ORDER_TEA, ORDER_CAKE]
    played.step("", {"name": ORDER_CAKE, "arguments": {"cake": "Plum", "day": "2019-03-02"}})
    assert played.results[0]["status"] == "success"


def test_a_tool_is_described_as_openai_s_api_wants_it(played: Played) -> None:
    find = json.loads(played.observation["tools"])[0]
    assert find == {
        "type": "function",
        "function": {
            "name": FIND_TEA,
            "description": "Look for a tea",
            "parameters": {
                "type": "object",
                "properties": {
                    "kind": {
                        "type": "string", "description": "The kind", "enum": ["green", "black"],
                    },
                    "origin": {
                        "type": "string", "description": "The origin", "default": "dontcare",
                    },
                },
                "required": ["kind"],
                "additionalProperties": False,
            },
        },
    }  # fmt: skip


# Info


def test_info_has_the_same_keys_at_every_step(played: Played) -> None:
    infos = [played.info]
    for action in (("", FIND), ("Sencha?",), ("", {"name": "x"}), ("b",), ("c",), ("d",)):
        played.step(*action)
        infos.append(played.info)
    assert all(list(info) == INFO_KEYS for info in infos)
    parts = ["response_similarity", "tool_accuracy"]
    assert all(list(info["reward_components"]) == parts for info in infos)
    assert json.loads(json.dumps(infos, allow_nan=False)) == infos


def test_the_target_is_told_when_the_turn_has_closed_and_only_then(played: Played) -> None:
    played.step("", FIND)
    assert played.info["target"] is None
    played.step("Sencha.")
    call = {"name": FIND_TEA, "arguments": '{"kind":"green"}'}
    assert played.info["target"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_0", "type": "function", "function": call}],
        },
        {"role": "assistant", "content": "There is Sencha from Uji."},
    ]
    played.step("", ORDER)
    assert played.info["target"] is None


def test_a_target_without_a_call_is_one_message(make: Make) -> None:
    played = Played(make(), MIXED)
    played.step("Yes.")
    assert played.info["target"] == [{"role": "assistant", "content": "We do, for your cake too."}]


def test_info_is_built_afresh(played: Played) -> None:
    played.info["services"].append("Spoilt_1")
    played.info["reward_components"]["response_similarity"] = 9
    played.observation["user"] = "spoilt"
    played.step("", FIND)
    assert played.info["services"] == ["Teas_1"]
    assert played.info["reward_components"] == {"response_similarity": None, "tool_accuracy": None}


def test_info_names_dialogue_services_and_the_dialogue_s_today(make: Make) -> None:
    info = Played(make(), MIXED).info
    assert info["dialogue_id"] == MIXED
    assert info["services"] == ["Teas_1", "Cakes_1"]
    assert info["date"] == "2019-03-01"


# Rewards


def test_the_recorded_actions_earn_one(make: Make) -> None:
    for reward in ("ground_truth", "balanced"):
        for dialogue_id in (TEA, BLACK, MIXED):
            played = Played(make(reward=reward), dialogue_id)
            while not played.terminated:
                recorded = played.env.recorded_action()
                played.step(recorded.text, *recorded.tool_calls)
                assert played.reward == 1.0


class Undecided:
    """A judge that cannot answer."""

    name = "undecided"
    parts = ("verdict",)

    def score(self, turn: ClosedTurn) -> Score:
        """Return a score without a value."""
        return Score(None, {"verdict": None}, "no answer")


def test_a_reward_that_cannot_be_told_is_said_to_be_invalid(make: Make) -> None:
    played = Played(make(reward=Undecided()))
    assert played.info["reward_valid"]
    played.step("Hi.")
    assert (played.reward, played.info["reward_valid"]) == (0.0, False)
    assert played.info["reward_components"] == {"verdict": None}


class Witness:
    """A reward that keeps the turns it was given."""

    name = "witness"
    parts = ()

    def __init__(self) -> None:
        self.turns: list[ClosedTurn] = []

    def score(self, turn: ClosedTurn) -> Score:
        """Keep the turn."""
        self.turns.append(turn)
        return Score(1.0, {})


def test_a_reward_sees_the_closed_turn_and_the_conversation_up_to_it(make: Make) -> None:
    witness = Witness()
    played = Played(make(reward=witness))
    played.step("", FIND)
    played.step("Sencha.", {"name": "Teas_1-Brew"})
    [turn] = witness.turns
    assert (turn.text, turn.index, turn.date) == ("Sencha.", 0, "2019-03-01")
    assert turn.calls == (ToolCall(FIND_TEA, {"kind": "green"}), ToolCall("Teas_1-Brew", {}))
    assert isinstance(turn.target, Turn)
    assert turn.target.text == "There is Sencha from Uji."
    assert turn.tools == played.observation["tools"]
    assert json.loads(turn.messages) == played.messages[:-1]


# Choice of dialogues


def test_dialogues_are_drawn_by_the_seed(make: Make) -> None:
    def drawn(seed: int) -> list[str]:
        env = make()
        first = env.reset(seed=seed)[1]["dialogue_id"]
        return [first] + [env.reset()[1]["dialogue_id"] for _ in range(30)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)
    assert set(drawn(5)) == {TEA, BLACK, MIXED}


def test_a_dialogue_can_be_asked_for(make: Make) -> None:
    assert Played(make(), BLACK).info["dialogue_id"] == BLACK


def test_an_unknown_dialogue_is_a_data_error_that_shows_an_id(make: Make) -> None:
    with pytest.raises(DataError, match=r"no dialogue '9_9'; one of it is '1_00000'"):
        make().reset(options={"dialogue_id": "9_9"})


def test_an_unknown_option_is_an_error(make: Make) -> None:
    with pytest.raises(ValueError, match=r"not \['difficulty'\]"):
        make().reset(options={"difficulty": 3})


def test_only_dialogues_of_the_services_are_drawn(make: Make) -> None:
    env = make(services=["Teas_1"])
    assert {env.reset(seed=seed)[1]["dialogue_id"] for seed in range(30)} == {TEA, BLACK}


@pytest.mark.parametrize(("seen", "services"), [("seen", "Teas_1"), ("unseen", "Trams_1")])
def test_seen_services_are_those_of_train(make: Make, seen: Any, services: str) -> None:
    env = make(split="dev", seen=seen)
    assert {env.reset(seed=seed)[1]["services"][0] for seed in range(20)} == {services}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"split": "validation"}, "split must be one of"),
        ({"services": ["Pubs_1"]}, "must be one of .*, not 'Pubs_1'"),
        ({"services": "Teas_1"}, "must be a list of names"),
        ({"services": []}, "leave no service of split"),
        ({"seen": "unseen"}, "leave no service of split"),
        ({"seen": "some"}, "seen must be"),
        ({"schema_variant": "v9"}, "schema_variant must be one of"),
        ({"reward": "best"}, "reward must be one of"),
        ({"reward": {"name": "balanced", "power": 2}}, "has no option 'power'"),
        ({"tools_offered": "none"}, "tools_offered must be"),
        ({"max_tool_calls_per_turn": 0}, "a whole number from 1"),
        ({"max_tool_calls_per_turn": True}, "a whole number from 1"),
        ({"render_mode": "human"}, "render_mode must be"),
    ],
)
def test_a_wrong_argument_says_what_is_expected(
    make: Make, arguments: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        make(**arguments)


def test_a_corpus_that_is_not_there_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        SGDEnv(str(tmp_path / "nowhere"))


# Snapshots

SCRIPT: list[tuple[Any, ...]] = [
    ("", FIND), ("Sencha?",), ("", ORDER, {"name": "x"}), ("Sorry.",), ("", ORDER), ("Sent.",),
    ("Bye.",),
]  # fmt: skip


def trace(played: Played, script: list[tuple[Any, ...]]) -> str:
    steps = []
    for action in script:
        played.step(*action)
        steps.append((played.observation, played.reward, played.terminated, played.info))
    return json.dumps(steps)


@pytest.mark.parametrize("steps", range(len(SCRIPT) + 1))
def test_a_dialogue_goes_on_from_a_restored_state_as_from_the_first(make: Make, steps: int) -> None:
    played = Played(make())
    trace(played, SCRIPT[:steps])
    state = json.loads(json.dumps(played.env.get_state(), allow_nan=False))
    other = Played(make(), BLACK)
    other.observation, other.info = other.env.set_state(state)
    assert other.observation == played.observation
    assert other.info["turn"] == played.info["turn"]
    assert trace(other, SCRIPT[steps:]) == trace(played, SCRIPT[steps:])
    assert other.env.reset()[1] == played.env.reset()[1]


def test_a_state_can_be_branched_from_many_times(make: Make) -> None:
    played = Played(make())
    played.step("", FIND)
    state = played.env.get_state()
    played.step("Sencha?")
    branch = played.env.get_state()
    for text, turn_after in (("Gyokuro?", 1), ("", 1)):
        played.env.set_state(state)
        played.step(text)
        assert played.info["turn"] == turn_after
    played.env.set_state(state)
    played.step("Sencha?")
    assert played.env.get_state() == branch


def test_a_restored_end_is_an_end(played: Played) -> None:
    trace(played, SCRIPT)
    state = played.env.get_state()
    played.env.reset()
    played.env.set_state(state)
    with pytest.raises(ResetNeeded):
        played.step("More?")


def test_a_state_does_not_say_what_the_corpus_did(played: Played) -> None:
    played.step("", ORDER)
    assert "There is Sencha" not in json.dumps(played.env.get_state())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 99}, "version"),
        ({"corpus": "0" * 64}, "corpus"),
        ({"split": "dev"}, "split"),
        ({"turn": 5}, "has 4"),
        ({"turn": -1}, "has 4"),
        ({"turn": "0"}, "not an SGD-v0 state"),
        ({"future": 1}, "not an SGD-v0 state"),
        ({"log": "["}, "not an SGD-v0 state"),
        ({"log": '[{"role":"user"}]'}, "not an SGD-v0 state"),
        ({"log": "[7"}, "not an SGD-v0 state"),
        ({"user": "\ud800"}, "not an SGD-v0 state"),
        ({"tool_result": "\ud800"}, "not an SGD-v0 state"),
        ({"calls": [{"name": "x", "arguments": {"a": "\ud800"}}]}, "not an SGD-v0 state"),
        ({"random": "{"}, "not an SGD-v0 state"),
        ({"random": "7"}, "not an SGD-v0 state"),
        ({"random": '{"bit_generator": "MT19937"}'}, "not an SGD-v0 state"),
    ],
)
def test_another_state_is_refused_and_changes_nothing(
    played: Played, change: dict[str, Any], problem: str
) -> None:
    played.step("", FIND)
    before = played.env.get_state()
    with pytest.raises(ValueError, match=problem):
        played.env.set_state(before | change)
    assert played.env.get_state() == before


def test_a_state_of_an_unknown_dialogue_is_a_data_error(played: Played) -> None:
    state = played.env.get_state() | {"dialogue_id": "9_9"}
    with pytest.raises(DataError, match="9_9"):
        played.env.set_state(state)


# The teacher's view


def test_a_target_is_an_action_that_earns_one(played: Played) -> None:
    played.step("Hm.")
    target = played.info["target"]
    played.env.reset(options={"dialogue_id": TEA})
    assert played.env.step(target)[1] == 1.0


def test_the_recorded_action_is_the_call_and_the_reply(played: Played) -> None:
    expected = Action("There is Sencha from Uji.", (ToolCall(FIND_TEA, {"kind": "green"}),))
    assert played.env.recorded_action() == expected
    played.step("", FIND)
    assert played.env.recorded_action() == expected


def test_a_changed_recorded_action_does_not_change_the_corpus(played: Played) -> None:
    played.env.recorded_action().tool_calls[0].arguments["kind"] = "black"
    assert played.env.recorded_action().tool_calls[0].arguments == {"kind": "green"}


# Rendering


def test_without_a_mode_nothing_is_rendered(played: Played) -> None:
    assert played.env.render() is None


@pytest.mark.parametrize("mode", ["ansi", "html"])
def test_the_conversation_so_far_is_rendered(make: Make, mode: str) -> None:
    played = Played(make(render_mode=mode))
    played.step("", FIND)
    shown = played.env.render()
    assert isinstance(shown, str)
    for part in (TEA, "I want a green tea.", FIND_TEA, "Gyokuro"):
        assert part in shown
    assert "There is Sencha" not in shown
