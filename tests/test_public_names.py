"""The public names of the package: few, pinned, imported when they are first used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import agent_gym_env
from agent_gym_env.errors import MissingDependency

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
SUBPACKAGES = (
    "agent_gym_env.benchmark",
    "agent_gym_env.client",
    "agent_gym_env.corpus",
    "agent_gym_env.export",
    "agent_gym_env.testing",
    "agent_gym_env.trl",
    "agent_gym_env.wrappers",
)
PACKAGES = ("agent_gym_env", *SUBPACKAGES)

PUBLIC = """
ActEnvsConfig ActPPOConfig ActPolicy Action ActsOraclePolicy ActsToSay AgentGymError BatchPolicy
BudgetExceeded CandidateEnvs CandidateEnvsConfig ChecksumError ClosedTurn Completion ConstantPolicy
CorpusReader DPOConfig DSPyPolicy DataError DeadlineError DialogueAct Episode GRPOConfig JudgeError
KTOConfig LLMPolicy LMError LanguageModel LockError MissingDependency Observation OptimizationRunner
OraclePolicy PPOConfig PermanentLMError Policy Request Response ResumeMismatchError RetrievalPolicy
Reward RulePolicy SB3Policy SFTConfig SGDEnv SGDSimEnv SGDSimVectorEnv SGDVectorEnv Score Shape
StorageError TinyConfig ToolBackend ToolCall ToolResult Tracker Trainer TransformersPolicy
TransientLMError UniformPolicy UserWording UserWords audit_task collect compare import_logs
make_act_choices make_candidates make_env make_policy make_reward open_corpus open_model
open_trackers play play_episodes pull_from_hub push_to_hub read_episodes register_client
register_corpus register_export register_policy register_reward register_runner register_strategy
register_tool_backend register_tracker register_trainer register_user require_or_exit rescore
summarize train_act_ppo train_dpo train_grpo train_kto train_ppo train_sft unused_dialogues
verify_task write_episodes write_report
"""


def test_the_public_names_are_pinned() -> None:
    assert agent_gym_env.__all__ == sorted(PUBLIC.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_defined_where_it_is_looked_for(package: str) -> None:
    try:
        module = import_module(package)
    except MissingDependency as missing:
        pytest.skip(str(missing))
    for name in module.__all__:
        try:
            value = getattr(module, name)
        except MissingDependency:
            continue
        assert not isinstance(value, type(sys)), f"{name} is a module"
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize(
    "package",
    ["agent_gym_env", "agent_gym_env.benchmark", "agent_gym_env.corpus", "agent_gym_env.export"],
)
def test_type_checkers_see_the_same_names(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    tree = ast.parse(Path(spec.origin).read_text())
    block = next(each for each in tree.body if isinstance(each, ast.If))
    seen = [alias.asname for each in block.body for alias in each.names]  # type: ignore[attr-defined]
    assert sorted(seen) == import_module(package).__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'agent_gym_env' has no attribute 'Brevity'"):
        _ = agent_gym_env.Brevity


def test_names_are_imported_when_they_are_used() -> None:
    code = """
import sys
import agent_gym_env
heavy = {"agent_gym_env.assembly", "agent_gym_env.types", "msgspec"} & set(sys.modules)
assert not heavy, heavy
from agent_gym_env import Action, make_env
assert Action("Hi.").text == "Hi."
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda each: each.stem)
def test_examples_import_public_names_only(path: Path) -> None:
    found = re.findall(r"^(?:from|import) (agent_gym_env[\w.]*)", path.read_text(), re.MULTILINE)
    assert set(found) <= set(PACKAGES)
