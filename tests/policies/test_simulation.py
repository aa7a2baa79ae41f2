"""Every policy plays the simulation as it plays the recorded dialogues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_gym_env.assembly import make_env, make_policy
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.llm import LLMPolicy
from agent_gym_env.types import ToolCall


def _named(name: str) -> Callable[[Path], Policy]:
    return lambda folder: make_policy(name, make_env(env="SGDSim-v0", split="dev"))


def _calls_then_talks(request: Request) -> Response | str:
    """Call the first tool once a turn, then say something."""
    if request.messages[-1]["role"] != "user":
        return "What city would you like?"
    name = request.tools[0]["function"]["name"] if request.tools else "Nothing"
    return Response("", (ToolCall(name, {"city": "Austin"}),))


def _llm(folder: Path) -> Policy:
    return LLMPolicy(ScriptedLM(_calls_then_talks))


def _dspy(folder: Path) -> Policy:
    pytest.importorskip("dspy", reason="pip install -e '.[dspy]'")
    from agent_gym_env.policies.dspy_module import SGDAgentModule
    from agent_gym_env.policies.dspy_program import DSPyPolicy

    fields = {"reasoning": "Well.", "response": "Which city?", "tool_call": ""}
    reply = "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items())
    return DSPyPolicy(SGDAgentModule(), ScriptedLM(lambda request: reply))


def _sb3(folder: Path) -> Policy:
    pytest.importorskip("torch", reason="pip install -e '.[sb3]'")
    from agent_gym_env.policies.sb3_file import Shape
    from agent_gym_env.policies.sb3_model import SB3Policy
    from agent_gym_env.retrieval.candidates import CandidateGenerator
    from agent_gym_env.retrieval.training import load_or_train

    train = open_corpus("sample").split("train")
    shape = Shape(k=3, encoder_dim=4, hidden=8)
    source = CandidateGenerator(load_or_train(train, training_dialogues=80, indexed=80))
    return SB3Policy(shape.network(), source, shape)


def _transformers(folder: Path) -> Policy:
    for library in ("transformers", "llguidance"):
        pytest.importorskip(library, reason="pip install -e '.[train]'")
    from agent_gym_env.policies.transformers_model import TransformersPolicy
    from tests.local_models import write_model

    return TransformersPolicy(write_model(folder / "tiny"), max_new_tokens=8)


POLICIES = {
    **{name: _named(name) for name in ("retrieval", "rule", "constant", "silent", "uniform")},
    "llm": _llm,
    "dspy": _dspy,
    "sb3": _sb3,
    "transformers": _transformers,
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_plays_the_simulation_to_the_end(name: str, tmp_path: Path) -> None:
    env: Any = make_env(env="SGDSim-v0", split="dev")
    policy = POLICIES[name](tmp_path)
    for seed in range(2):
        observation, info = env.reset(seed=seed)
        policy.reset(seed=seed)
        over, turns = False, 0
        while not over:
            action = policy.act(observation)
            observation, reward, over, _, info = env.step(action)
            assert reward <= 1.0
            turns += info["user_understood"] is not None
            assert turns < 100
        assert info["task"]["milestones"] is not None
        assert 0.0 <= info["task"]["milestones"] <= 1.0
