"""A session as a taskset and an environment of verifiers, with user turns and the dialogue's tools.

A rollout has two sides. The environment says the user's words and hears the model's, in the process
of the trainer. The tools run in a server that verifiers starts, which all rollouts share. Between
them travels the snapshot of the session, as verifiers' state of the rollout.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from agent_gym_env.adapters.verifiers_state import (
    DialogueData,
    DialogueState,
    begin,
    take_step,
    turns_of,
)
from agent_gym_env.adapters.verifiers_tools import DialogueToolset
from agent_gym_env.assembly import make_policy
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.extras import require
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.reward_audit.task_audit import verify_task
from agent_gym_env.reward_audit.verify import verify
from agent_gym_env.rollout.play import play
from agent_gym_env.server.session import Session
from agent_gym_env.types import Action

require("verifiers", extra="verifiers")

import verifiers.v1 as vf  # noqa: E402  (`require` names the extra if it is missing)
from pydantic import Field  # noqa: E402
from verifiers.v1.mcp import SharedToolsetConfig  # noqa: E402

if TYPE_CHECKING:
    from verifiers.v1.runtimes import Runtime
    from verifiers.v1.trace import Trace


class DialogueTask(vf.Task[DialogueData, DialogueState, vf.TaskConfig]):
    """A dialogue. Its key is the dialogue's id."""

    @property
    def key(self) -> str:
        """The id of the dialogue."""
        return str(self.data.dialogue_id)

    async def setup(self, trace: Trace, runtime: Runtime) -> None:
        """Begin the episode."""
        begin(trace.state, self.data)

    async def validate(self, runtime: Runtime) -> bool | None:
        """Return whether the corpus's own agent gets the full reward for the dialogue."""
        return is_solved(self.data)

    @vf.reward
    async def dialogue(self, trace: Trace) -> float:
        """Return the reward of the dialogue.

        ``SGD-v0``: the mean over the turns of the recorded dialogue, in [0, 1]; a turn that was not
        reached counts as 0. ``SGDSim-v0``: the sum of the rewards.
        """
        state: DialogueState = trace.state
        total = sum(each for each in state.rewards if each is not None)
        if state.env_id == "SGDSim-v0":
            return total
        return total / turns_of(state)

    @vf.metric
    async def counts(self, trace: Trace) -> dict[str, float]:
        """Return the numbers of turns, calls and refused calls, and the success if there is one."""
        state: DialogueState = trace.state
        found = {
            "turns": float(len(state.rewards)),
            "calls": float(state.calls),
            "refused_calls": float(state.refused),
            "unscored_turns": float(sum(each is None for each in state.rewards)),
        }
        task = state.snapshot["reply"]["info"].get("task") or {}
        names = ("success", "strict")
        return found | {name: float(task[name]) for name in names if task.get(name) is not None}


class DialogueTasksetConfig(vf.TasksetConfig):
    """Choice of the dialogues.

    Attributes:
        env_id: ``SGD-v0``, ``SGDSim-v0`` or ``Traces-v0``.
        arguments: arguments of ``gymnasium.make``: corpus, split, reward and others.
        seed: seed of the users.
        rules: the system message; ``{today}`` in it is replaced by the dialogue's date.
        tools: place that the server of the tools runs in.
    """

    env_id: str = "SGD-v0"
    arguments: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    rules: str = RULES
    tools: SharedToolsetConfig = SharedToolsetConfig()


class DialogueTaskset(vf.Taskset[DialogueTask, DialogueTasksetConfig]):
    """The selected dialogues of a split, in the order of the corpus."""

    @classmethod
    def toolsets(cls, config: DialogueTasksetConfig) -> list[vf.Toolset]:
        """Return the server of the dialogues' tools."""
        return [DialogueToolset(config.tools)]

    def load(self) -> Iterator[DialogueTask]:
        """Yield the tasks."""
        config = self.config
        env = Session(config.env_id, config.arguments).env
        ids = env.split.dialogue_ids()
        for index in env.selected:
            date = env.split.task(int(index)).date
            data = DialogueData(
                name=ids[index],
                system_prompt=config.rules.replace("{today}", date or "a day that is not known"),
                env_id=config.env_id,
                arguments=config.arguments,
                dialogue_id=ids[index],
                seed=config.seed,
            )
            yield DialogueTask(data, config.task)


class DialogueEnvConfig(vf.EnvConfig):
    """Configuration of the environment.

    Attributes:
        agent: the agent that talks to the user.
    """

    agent: vf.AgentConfig = vf.AgentConfig()


class DialogueEnv(vf.Env[DialogueEnvConfig]):
    """Carries words between the user and the agent until the dialogue ends."""

    async def run(self, task: vf.Task, agents: vf.Agents) -> None:
        """Play one episode."""
        async with agents.agent.interaction(task) as interaction:
            state: DialogueState = interaction.trace.state
            words = state.snapshot["reply"]["observation"]["user"]
            while not state.over:
                segment = await interaction.turn(words)
                state = interaction.trace.state
                if segment.terminated or state.over:
                    break
                words = take_step(state, Action(segment.last_reply)).observation["user"]


def is_solved(data: DialogueData) -> bool:
    """Return whether the corpus's own agent gets the full reward for a dialogue.

    ``SGD-v0``: every turn of the recording earns 1, with the recorded tool results. ``SGDSim-v0``:
    the acts oracle is a strict success with a user who reads acts in place of words.
    """
    if data.env_id == "SGDSim-v0":
        env = Session(data.env_id, {**data.arguments, "understanding": "acts"}).env
        return not verify_task(env, [data.dialogue_id], seed=data.seed).unsolved
    recorded = unwrap_sgd(Session(data.env_id, data.arguments).env)
    episode = play(recorded, make_policy("oracle", recorded), dialogue_id=data.dialogue_id)
    return not verify([episode], [recorded.settings.reward]).short
