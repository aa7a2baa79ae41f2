"""Evaluations of a language model whose provider fails at every turn and in every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent_gym_env.assembly import rollout
from agent_gym_env.cli.main import main
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.types import ToolCall
from tests.lm.clients import FAST, PRICE, asks, make_client, needs
from tests.lm.server import FAULTS, Faults, LMServer, Raw
from tests.lm.wire_formats import ChatAnswer, ChatRequest, write_error

TURNS = 500
ATTEMPT_S = 4.0
# Those that only waiting ends are drawn less often, so that the test takes seconds.
KINDS = (*(kind for kind in FAULTS if kind not in ("hang", "drip")),) * 8 + ("hang", "drip")


def agent(request: ChatRequest) -> str | ChatAnswer:
    """Call the first tool when a conversation begins, and say something ever after."""
    if len(request.messages) == 2 and request.tools:
        return ChatAnswer(tool_calls=[ToolCall(request.tools[0]["function"]["name"], {})])
    return "Certainly."


@pytest.fixture
def server() -> Iterator[LMServer]:
    faults = Faults(rate=0.3, kinds=KINDS, retry_after_s=0.01, hang_s=10.0)
    with LMServer(agent, faults=faults) as running:
        yield running


# A litellm call that is cancelled while its own thread prepares it leaves a coroutine behind.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "client",
    [
        pytest.param("litellm-gemini", marks=needs("litellm")),
        pytest.param("local", marks=needs("aiohttp")),
        pytest.param("litellm-openai", marks=[needs("litellm"), pytest.mark.long]),
        pytest.param("google-genai", marks=[needs("google.genai"), pytest.mark.long]),
    ],
)
def test_five_hundred_turns_under_faults_all_end_and_are_billed_once(
    client: str, server: LMServer
) -> None:
    limits = msgspec.structs.replace(FAST, attempt_timeout_s=ATTEMPT_S)
    lm = make_client(client, server, limits=limits)
    server.faults.rate = 0.0
    make_client(client, server).complete(asks())  # in which libraries import the rest of themselves
    begun = len(server.exchanges)
    server.faults.rate = 0.3
    episodes = list(_episodes(LLMPolicy(lm)))
    wire = server.exchanges[begun:]
    steps = [step for e in episodes for turn in e.turns for step in turn.steps]
    completions = [step.action.completion for step in steps if step.action.completion]

    assert sum(len(episode.turns) for episode in episodes) >= TURNS
    assert len({episode.dialogue_id for episode in episodes}) == len(episodes)
    assert all(episode.terminated or episode.error for episode in episodes)
    failed = [episode for episode in episodes if episode.error]
    assert len(failed) <= 0.05 * len(episodes)
    assert all(e.error and e.error.startswith("TransientLMError") for e in failed)
    assert len(wire) <= 1.6 * len(completions)
    # What dripped was not read to its end: it was billed where nobody can see it.
    billed = [e.billed for e in wire if e.billed and e.fault != "drip"]
    spent = lm.budget.spent
    assert spent.prompt_tokens == sum(b.prompt for b in billed)
    cost = sum(
        PRICE.prompt / 1e6 * b.prompt + PRICE.completion / 1e6 * b.completion for b in billed
    )
    assert spent.cost_usd == pytest.approx(cost)
    if not failed:
        assert sum(c.cost_usd or 0.0 for c in completions) == pytest.approx(cost)


def _episodes(policy: LLMPolicy) -> Iterator[Episode]:
    """Play whole dialogues until there are enough turns."""
    turns = 0
    for episode in rollout(policy, corpus="sample", split="train"):
        yield episode
        turns += len(episode.turns)
        if turns >= TURNS:
            return


def _evaluate(server: LMServer, *arguments: str, **options: Any) -> int:
    limits = {"backoff_s": 0.001, "max_backoff_s": 0.004, **options.pop("limits", {})}
    policy = {"name": "llm", "client": "local", "model": "any", "api_base": server.openai_base}
    described = json.dumps({**policy, "limits": limits, **options})
    return main(["evaluate", "--policy", described, "--split", "dev", *arguments])


def test_an_episode_that_fails_is_recorded_and_the_exit_code_says_so(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = Faults()
    server.plan(None, None, "404")
    assert _evaluate(server, "--episodes", "3", "--out", str(tmp_path)) == 1
    failed, *others = read_episodes(tmp_path / "llm.jsonl")
    assert failed.error is not None
    assert failed.error.startswith("PermanentLMError: any refused (HTTP 404)")
    assert [episode.error for episode in others] == [None, None]
    shown = capsys.readouterr()
    assert "1 of 3 episodes failed" in shown.err
    assert "PermanentLMError" in shown.out
    assert "PermanentLMError" in next(tmp_path.glob("report-*.html")).read_text("utf-8")


def test_a_spent_budget_stops_the_run_and_keeps_what_was_played(
    server: LMServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = Faults()
    arguments = ("--episodes", "20", "--out", str(tmp_path))
    assert _evaluate(server, *arguments, budget_calls=40) == 3
    played = list(read_episodes(tmp_path / "llm.jsonl"))
    assert 1 <= len(played) < 20
    assert all(episode.terminated for episode in played)
    assert len(server.exchanges) == 40
    assert "stopped: all 40 calls of the budget are made" in capsys.readouterr().err


def test_a_run_that_is_stopped_before_its_first_episode_says_why(
    server: LMServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _evaluate(server, "--episodes", "2", budget_calls=0) == 3
    assert "all 0 calls" in capsys.readouterr().err


def test_a_key_that_is_refused_ten_times_stops_the_run(
    server: LMServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = Faults(rate=1.0, kinds=["401"])
    assert _evaluate(server, "--episodes", "15") == 3
    assert len(server.exchanges) == 10
    assert "refused the key 10 times" in capsys.readouterr().err


def test_a_second_evaluation_makes_no_call(server: LMServer, tmp_path: Path) -> None:
    server.faults = Faults()
    for number in range(2):
        out = str(tmp_path / str(number))
        options = {"cache": str(tmp_path / "cache")}
        assert _evaluate(server, "--episodes", "5", "--out", out, **options) == 0
        if number == 0:
            calls = len(server.exchanges)
    assert len(server.exchanges) == calls
    first, second = (list(read_episodes(tmp_path / n / "llm.jsonl")) for n in ("0", "1"))
    assert [e.turns[0].reward for e in first] == [e.turns[0].reward for e in second]
    costs = [s.action.completion.cost_usd for e in second for t in e.turns for s in t.steps
             if s.action.completion]  # fmt: skip
    assert costs == [0.0] * len(costs)


def test_one_model_is_named_for_every_policy_and_judge_and_episodes_tell_which_served(
    server: LMServer, tmp_path: Path
) -> None:
    server.faults = Faults()
    server.agent = lambda request: ChatAnswer("Certainly.", model="served-2026-09")
    model = json.dumps({"client": "local", "model": "asked", "api_base": server.openai_base})
    arguments = ["--policy", "llm", "--episodes", "1", "--out", str(tmp_path / "out")]
    assert main(["rollout", *arguments, "--reward", "llm_judge", "--model", model]) == 0
    (episode,) = read_episodes(tmp_path / "out")
    models = {
        step.action.completion.model
        for turn in episode.turns
        for step in turn.steps
        if step.action.completion is not None
    }
    assert models == {"served-2026-09"}
    assert {request.model for request in server.requests} == {"asked"}
    assert any(request.schema for request in server.requests)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())["config"]
    assert manifest["policies"][0]["model"] == manifest["world"]["reward"]["model"] == "asked"


def test_a_context_that_is_exceeded_is_scored_as_silence_to_the_end(
    server: LMServer, tmp_path: Path
) -> None:
    server.faults = Faults()
    server.agent = lambda request: "Certainly."

    def too_long(request: ChatRequest) -> Raw:
        return Raw(400, write_error(request, 400, "the maximum context length is 10 tokens"))

    # The second request asks whether the server's template knows tools.
    server.plan(None, None, too_long)
    assert _evaluate(server, "--episodes", "1", "--out", str(tmp_path)) == 1
    (episode,) = read_episodes(tmp_path / "llm.jsonl")
    assert episode.error is not None
    assert episode.error.startswith("ContextExceeded: any refused (HTTP 400)")
    assert episode.terminated
    assert all(turn.reward is not None for turn in episode.turns)
    silent = [turn for turn in episode.turns if turn.steps[-1].action_error == "policy_failed"]
    assert len(silent) == len(episode.turns) - 1
    # The model is asked no more once its context is full.
    assert len(server.exchanges) == 3
