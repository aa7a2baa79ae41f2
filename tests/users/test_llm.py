"""A user by language model, over real HTTP: it words acts and reads texts, and is checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ResetNeeded

from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.envs.simulation import Understanding
from agent_gym_env.errors import BudgetExceeded, LMError, PermanentLMError, TransientLMError
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.rollout.play import play
from agent_gym_env.storage.cache_folder import HOME_VARIABLE
from agent_gym_env.testing import ScriptedLM
from agent_gym_env.types import Action, DialogueAct
from agent_gym_env.users.llm import LLMUser, ReadingLLMUser
from agent_gym_env.users.mentions import Mentions
from agent_gym_env.users.own_phrases import OwnPhrases
from agent_gym_env.users.phrase_book import PhraseBook, wishes_of
from agent_gym_env.users.wording import ActsToSay, AgendaWording, TextToRead
from tests.lm.clients import needs
from tests.lm.server import LMServer
from tests.lm.wire_formats import ChatRequest

pytestmark = needs("aiohttp")

TODAY = "2019-03-01"
FAST = {"backoff_s": 0.001, "max_backoff_s": 0.002, "max_attempts": 2}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))


def _document(request: ChatRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(request.messages[1]["content"])
    return found


def _draft(request: ChatRequest) -> str:
    """Be a model that says the draft."""
    return json.dumps({"words": _document(request)["draft"]})


@pytest.fixture
def server() -> Iterator[LMServer]:
    with LMServer(_draft) as running:
        yield running


def _make(server: LMServer, **options: Any) -> SGDSimEnv:
    user = {
        "name": "llm", "client": "local", "model": "m", "api_base": server.openai_base,
        "limits": FAST, **options,
    }  # fmt: skip
    understanding: Understanding = "text" if options.get("reads") else "acts"
    return SGDSimEnv(split="dev", understanding=understanding, user=user)


def _play(env: SGDSimEnv, alter: Callable[[Action], Action] = lambda action: action) -> list[str]:
    """Let the acts oracle play a dialogue; return the user's words."""
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, _ = env.reset(options={"dialogue_id": env.split.dialogue_ids()[3]})
    words, over = [observation["user"]], False
    while not over:
        observation, _, over, _, info = env.step(alter(policy.act(observation)))
        words += [observation["user"]] * bool(observation["user"])
    assert info["task"]["strict"], info["task"]
    return words


def _counters(env: SGDSimEnv) -> dict[str, int]:
    return env.simulation.state().user.counters


def test_the_model_writes_every_turn_and_decides_nothing(server: LMServer) -> None:
    server.agent = lambda request: json.dumps({"words": _document(request)["draft"] + " Please!"})
    env = _make(server)
    said = _play(env)
    plain = _play(SGDSimEnv(split="dev", understanding="acts"))
    assert said == [f"{words} Please!" for words in plain]
    assert _counters(env)["words_model"] == len(said) == len(server.requests)


def test_the_model_never_sees_a_wish_that_its_turn_does_not_say(server: LMServer) -> None:
    env = _make(server)
    _play(env)
    wishes = wishes_of(env.simulation.goal)
    assert len(wishes) > 3
    for request in server.requests:
        document = _document(request)
        said = {act.get("value", "") for act in document["acts"]}
        told = json.dumps([document["acts"], document["draft"]])
        assert not Mentions(told, TODAY).has_any(wishes - said), told


@pytest.mark.parametrize(
    "bad",
    [
        "Sure!",
        "{}",
        '{"words": ""}',
        '{"words": 7}',
        '{"words": "I want something on March 31st."}',
        "[" * 99,
    ],
)
def test_words_that_fail_are_asked_for_once_more(server: LMServer, bad: str) -> None:
    env = _make(server)
    answers = iter([bad])
    server.agent = lambda request: next(answers, None) or _draft(request)
    observation, _ = env.reset(options={"dialogue_id": env.split.dialogue_ids()[3]})
    assert len(server.requests) == 2
    assert _counters(env) == {"words_model": 1}
    assert observation["user"]


def test_words_that_fail_twice_give_way_to_the_agendas_own(server: LMServer) -> None:
    server.agent = lambda request: '{"words": "No idea on March 31st in Ulan Bator."}'
    env = _make(server)
    said = _play(env)
    assert said == _play(SGDSimEnv(split="dev", understanding="acts"))
    assert _counters(env)["words_model_failed"] >= len(said) / 2


def test_the_style_is_told_to_the_model(server: LMServer) -> None:
    _make(server, style="in a hurry").reset()
    assert "in a hurry" in server.requests[0].messages[0]["content"]


@pytest.mark.parametrize(
    ("faults", "options", "kind"),
    [
        (["500"] * 20, {}, TransientLMError),
        (["400"] * 20, {}, PermanentLMError),
        ([], {"budget_calls": 1}, BudgetExceeded),
    ],
)
def test_a_failing_provider_raises_and_ends_the_dialogue(
    server: LMServer, faults: list[str], options: dict[str, Any], kind: type[LMError]
) -> None:
    env = _make(server, **options)
    env.reset(seed=0)
    server.plan(*faults)
    action = Action("What else?", acts=(DialogueAct("REQ_MORE"),))
    with pytest.raises(kind):
        env.step(action)
    with pytest.raises(ResetNeeded):
        env.step(action)


def test_an_episode_records_the_failure_of_the_users_model(server: LMServer) -> None:
    env = _make(server)
    server.plan(None, "500", "500")
    episode = play(env, ActsOraclePolicy(env), seed=0)
    assert episode.error is not None
    assert episode.error.startswith("TransientLMError")
    assert not episode.terminated
    env = _make(server, budget_calls=3)
    with pytest.raises(BudgetExceeded):
        play(env, ActsOraclePolicy(env), seed=1)


def test_answers_come_from_the_cache(server: LMServer) -> None:
    first = _play(_make(server))
    asked = len(server.requests)
    assert _play(_make(server)) == first
    assert len(server.requests) == asked


def test_a_refused_answer_is_not_kept_in_the_cache(server: LMServer) -> None:
    server.agent = lambda request: "no JSON"
    _make(server).reset(seed=0)
    server.agent = _draft
    env = _make(server)
    env.reset(seed=0)
    assert _counters(env) == {"words_model": 1}


def test_a_user_without_a_task_for_the_model_is_refused(server: LMServer) -> None:
    with pytest.raises(ValueError, match="set speaks or reads to true"):
        _make(server, speaks=False)
    with pytest.raises(ValueError, match=r"no option 'temprature' .did you mean"):
        _make(server, temprature=0.0)


# Reading.


def test_a_dialogue_is_solved_by_text_that_the_model_reads(server: LMServer) -> None:
    env = _make(server, speaks=False, reads=True)
    meant: list[tuple[DialogueAct, ...]] = []

    def read(request: ChatRequest) -> str:
        acts = [{"act": a.act, "slot": a.slot, "value": a.value} for a in meant[-1]]
        return json.dumps({"acts": acts})

    def without_acts(action: Action) -> Action:
        meant.append(action.acts)
        said = " ".join(f"{act.slot} {act.value}" for act in action.acts)
        return Action(f"{action.text} {said}" if action.text else "", action.tool_calls)

    server.agent = read
    _play(env, without_acts)
    assert "acts_dropped" not in _counters(env)
    assert all("assistant" in _document(request) for request in server.requests)


def _heard(text: str) -> TextToRead:
    split = SGDSimEnv(split="dev", understanding="acts").split
    service = min(split.services)
    tools = {name: spec for name, spec in split.tools.items() if spec.service == service}
    return TextToRead(text, "Hi.", tools, [{"provider_name": "Dr. Who"}], TODAY)


def _read(text: str, *answers: str) -> tuple[tuple[DialogueAct, ...], int]:
    agenda = AgendaWording(PhraseBook({}), OwnPhrases([]))
    understood = ReadingLLMUser(ScriptedLM(answers), agenda).read(_heard(text))
    return understood.acts, understood.dropped


def _acts(*acts: tuple[str, ...]) -> str:
    names = ("act", "slot", "value")
    return json.dumps({"acts": [dict(zip(names, act, strict=False)) for act in acts]})


def test_read_acts_are_checked_against_slots_values_and_tools() -> None:
    slots = sorted({slot for spec in _heard("").tools.values() for slot in spec.arguments})
    slot, intent = slots[0], next(spec.intent for spec in _heard("").tools.values())
    right = [("REQUEST", slot), ("CONFIRM", slot, "Austin"), ("OFFER_INTENT", "", intent),
             ("REQ_MORE",)]  # fmt: skip
    wrong = [("REQUEST", "no_such_slot"), ("CONFIRM", slot, "Reno"), ("CONFIRM", slot),
             ("OFFER_INTENT", "", "BuyPonies"), ("AFFIRM",), ("DELETE", slot)]  # fmt: skip
    acts, dropped = _read("In Austin?", _acts(*right, *wrong))
    assert dropped == len(wrong)
    assert acts == (
        DialogueAct("REQUEST", slot),
        DialogueAct("CONFIRM", slot, "Austin"),
        DialogueAct("OFFER_INTENT", "intent", intent),
        DialogueAct("REQ_MORE"),
    )


def test_an_answer_that_cannot_be_read_is_asked_for_once_more_and_then_means_nothing() -> None:
    assert _read("What else?", "hm", _acts(("REQ_MORE",))) == ((DialogueAct("REQ_MORE"),), 0)
    assert _read("What else?", "hm", "[]") == ((), 1)
    nested = '{"acts": [], "x": ' + "[" * 5000 + "]" * 5000 + "}"
    acts, _ = _read("What else?", nested, nested)  # some Pythons read it, others give up
    assert acts == ()
    assert _read("  ") == ((), 0)


def test_a_model_that_says_values_in_other_forms_is_believed() -> None:
    acts = (UserAct("X_1", "INFORM", "time", "17:30"),)
    task = Task("1", ("X_1",), (Turn("", "", "X_1"),), TODAY)
    model = ScriptedLM(['{"words": "half past five pm"}'])
    agenda = AgendaWording(PhraseBook({}), OwnPhrases([]))
    said = LLMUser(model, agenda).words(ActsToSay(acts, task))
    assert said == ("half past five pm", "model")
