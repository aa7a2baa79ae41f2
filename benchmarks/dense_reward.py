"""Command: rank correlation of the dense rewards of ``SGD-v0`` with success in ``SGDSim-v0``.

The same mistakes are made by the oracle of each environment, and the shipped policies play both.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.evaluation.rescore import closed_turns
from agent_gym_env.evaluation.statistics import Floats
from agent_gym_env.policies.agent_wording import Speaker
from agent_gym_env.policies.base import Policy
from agent_gym_env.reward_audit.agreement import spearman
from agent_gym_env.reward_audit.answers import Reply, recorded_calls, recorded_turns
from agent_gym_env.reward_audit.degenerate import (
    Script,
    ScriptedAgent,
    Steps,
    pretend_result,
    with_a_wrong_value,
)
from agent_gym_env.reward_audit.task_audit import play_dialogue
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.rollout.play import play
from agent_gym_env.types import Action, Observation, ToolCall

SHARES = (0.1, 0.3, 1.0)
RESAMPLES = 1000
REWARDS = ("ground_truth", "balanced")


class System(NamedTuple):
    """A policy, or an oracle with a mistake, with its figures by dialogue.

    Attributes:
        name: name in the table.
        scores: figures by name, each of shape (dialogues,).
    """

    name: str
    scores: Mapping[str, Floats]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dense_reward", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="name or path of a corpus")
    parser.add_argument("--split", default="dev", help="name of a split")
    parser.add_argument("--episodes", type=int, default=200, help="number of dialogues")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of dialogues")
    parser.add_argument("--understanding", default="acts", help="what the user reads")
    parser.add_argument(
        "--policy", nargs="*", default=["silent", "constant", "uniform", "retrieval"],
        help="policies that play both environments",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    bench = _Bench(chosen)
    systems = [bench.oracle(), *bench.mistakes(), *bench.policies(chosen.policy)]
    if chosen.json:
        print(json.dumps(_figures(systems), indent=2))
    else:
        print(_table(systems, len(bench.ids)))
    return 0


class _Bench:
    """The two environments over the same dialogues."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        world = {"corpus": chosen.corpus, "split": chosen.split}
        self.replay = make_env(**world)
        self.simulated = SGDSimEnv(**world, understanding=chosen.understanding)
        self.split: Split = self.simulated.split
        self.seed: int = chosen.seed
        drawn = choose_dialogues(self.replay, chosen.episodes, chosen.seed)
        self.ids = [each for each in drawn if self.split.has_goal(self.split.index(each))]
        corpus = unwrap_sgd(self.replay).corpus
        self.rewards = {name: make_reward_for(name, self.split, corpus) for name in REWARDS}

    def mistakes(self) -> Iterator[System]:
        """Yield the oracles without a mistake, and with each mistake at each share."""
        for name, mistake in MISTAKES.items():
            for share in SHARES:
                yield self._mistaken(f"{name} ({share:.0%})", mistake, share)

    def oracle(self) -> System:
        """Return the oracles without a mistake."""
        return self._mistaken("oracle", MISTAKES["silence"], 0.0)

    def _mistaken(self, name: str, mistake: Mistake, share: float) -> System:
        scores = np.array([self._recorded(each, mistake, share) for each in self.ids])
        agent = ScriptedAgent(name, mistake.script(share), self.simulated)
        return System(name, dict(zip(REWARDS, scores.T, strict=True)) | self._played(agent))

    def _recorded(self, dialogue_id: str, mistake: Mistake, share: float) -> list[float]:
        task = self.split.task(self.split.index(dialogue_id))
        recording = Recording(task, self.split.tools, share)
        turns = [
            turn.answered(mistake.answer(recording, index))
            for index, turn in enumerate(recorded_turns(task))
        ]
        return self._means(turns)

    def _means(self, turns: Sequence[ClosedTurn]) -> list[float]:
        return [
            sum(reward.score(turn).value or 0.0 for turn in turns) / len(turns)
            for reward in self.rewards.values()
        ]

    def _played(self, policy: Policy) -> dict[str, Floats]:
        outcomes = [play_dialogue(self.simulated, policy, each).verdict for each in self.ids]
        return {
            "strict": np.array([float(verdict.strict) for verdict in outcomes]),
            "milestones": np.array([verdict.milestones for verdict in outcomes]),
        }

    def policies(self, names: Sequence[str]) -> Iterator[System]:
        """Yield policies that play both environments."""
        for name in names:
            policy = make_policy(name, self.replay)
            scores = np.array([self._replayed(policy, each) for each in self.ids])
            yield System(name, dict(zip(REWARDS, scores.T, strict=True)) | self._played(policy))

    def _replayed(self, policy: Policy, dialogue_id: str) -> list[float]:
        episode = play(self.replay, policy, dialogue_id=dialogue_id, seed=self.seed)
        return self._means(list(closed_turns(episode)))


# Mistakes, for both oracles.


class Recording(NamedTuple):
    """A recorded dialogue in which the oracle of ``SGD-v0`` makes a mistake now and then.

    Attributes:
        task: the dialogue.
        tools: the tools of its split, by name.
        share: share of the occasions at which the mistake is made.
    """

    task: Task
    tools: Mapping[str, ToolSpec]
    share: float

    def happens(self, index: int) -> bool:
        """Return whether the mistake is made at an occasion in a turn."""
        return random.Random(f"{self.task.dialogue_id}:{index}").random() < self.share

    def reply(self, index: int) -> Reply:
        """Return the recorded reply to a turn."""
        turn = self.task.turns[index]
        return Reply(turn.text, recorded_calls(turn))

    def books(self, index: int) -> bool:
        """Return whether the recorded reply to a turn books something without consent."""
        if index >= len(self.task.turns):
            return False
        return any(self.tools[call.name].transactional for call in self.reply(index).calls)


Answer = Callable[[Recording, int], Reply]
Change = Callable[[Script, Action, Observation], Action]


class Mistake(NamedTuple):
    """A mistake that the oracle of either environment can make.

    Attributes:
        answer: replies to a recorded turn; for ``SGD-v0``.
        applies: returns whether an action of the acts oracle is an occasion for the mistake.
        change: makes the mistake; for ``SGDSim-v0``.
    """

    answer: Answer
    applies: Callable[[Action], bool]
    change: Change

    def script(self, share: float) -> Callable[[Script], Steps]:
        """Make the script of an acts oracle with the mistake."""

        def play_script(script: Script) -> Steps:
            draw = random.Random(script.env.simulation.task.dialogue_id)
            observation = script.observation
            while True:
                action = script.honest(observation)
                if self.applies(action) and draw.random() < share:
                    action = self.change(script, action, observation)
                observation = yield action

        return play_script


def _without_call(recording: Recording, index: int) -> Reply:
    reply = recording.reply(index)
    return Reply(reply.text) if recording.happens(index) else reply


def _pretended_call(script: Script, action: Action, observation: Observation) -> Action:
    status = "success" if script.write_in(action) else "failure"
    return script.honest(pretend_result(observation, action.tool_calls[0], status))


def _with_wrong_call(recording: Recording, index: int) -> Reply:
    reply = recording.reply(index)
    return Reply(reply.text, _spoiled(reply.calls)) if recording.happens(index) else reply


def _wrong_call(script: Script, action: Action, observation: Observation) -> Action:
    return Action(tool_calls=_spoiled(action.tool_calls))


def _spoiled(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(call.name, with_a_wrong_value(call)) for call in calls)


def _books_a_turn_early(recording: Recording, index: int) -> Reply:
    """Book in the turn that asks for consent, and say so; the turn after it makes no call."""
    reply = recording.reply(index)
    if recording.books(index + 1) and recording.happens(index + 1):
        return recording.reply(index + 1)
    if index and recording.books(index) and recording.happens(index):
        return Reply(reply.text)
    return reply


def _books_at_once(script: Script, action: Action, observation: Observation) -> Action:
    return script.honest_after("AFFIRM", observation)


def _in_other_words(recording: Recording, index: int) -> Reply:
    """Return the recorded values in words of our own."""
    reply, values = recording.reply(index), recording.task.turns[index].values
    said = [f"For {value.slot.replace('_', ' ')} we have {value.text}." for value in values]
    return (
        Reply(" ".join(said or ["Understood."]), reply.calls) if recording.happens(index) else reply
    )


def _other_words(script: Script, action: Action, observation: Observation) -> Action:
    errand = script.goal.errands[script.user.errand]
    tool = script.tool_schemas()[errand.tool]
    return Speaker("verbose").say(action.acts, tool.arguments, tool.intent, 1)


def _silent(recording: Recording, index: int) -> Reply:
    return (
        Reply("", recording.reply(index).calls)
        if recording.happens(index)
        else recording.reply(index)
    )


def _silence(script: Script, action: Action, observation: Observation) -> Action:
    return Action()


MISTAKES = {
    "calls dropped": Mistake(
        _without_call, lambda action: bool(action.tool_calls), _pretended_call
    ),
    "wrong values": Mistake(_with_wrong_call, lambda action: bool(action.tool_calls), _wrong_call),
    "no confirmation": Mistake(
        _books_a_turn_early, lambda a: any(act.act == "CONFIRM" for act in a.acts), _books_at_once
    ),
    "other words": Mistake(_in_other_words, lambda action: bool(action.text), _other_words),
    "silence": Mistake(_silent, lambda action: bool(action.text), _silence),
}


# The table.


def _correlation(systems: Sequence[System], reward: str, figure: str = "strict") -> list[float]:
    """Return Spearman's rank correlation over systems, and its 95 % interval over dialogues."""
    first, second = (
        np.stack([system.scores[name] for system in systems]) for name in (reward, figure)
    )
    dialogues = first.shape[1]
    rng = np.random.default_rng(0)
    resampled = [
        spearman(first[:, drawn].mean(1), second[:, drawn].mean(1))
        for drawn in rng.integers(dialogues, size=(RESAMPLES, dialogues))
    ]
    low, high = np.quantile([each for each in resampled if each is not None], [0.025, 0.975])
    return [spearman(first.mean(1), second.mean(1)) or 0.0, float(low), float(high)]


def _figures(systems: Sequence[System]) -> dict[str, Any]:
    return {
        "systems": {
            system.name: {name: float(values.mean()) for name, values in system.scores.items()}
            for system in systems
        },
        "rank correlation with strict": {name: _correlation(systems, name) for name in REWARDS},
    }


def _table(systems: Sequence[System], dialogues: int) -> str:
    columns = (*REWARDS, "strict", "milestones")
    lines = [
        f"| {dialogues} dialogues | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for system in systems:
        cells = " | ".join(f"{system.scores[name].mean():.3f}" for name in columns)
        lines.append(f"| {system.name} | {cells} |")
    for reward in REWARDS:
        value, low, high = _correlation(systems, reward)
        lines.append(
            f"rank correlation of {reward} with strict: {value:.3f} ({low:.3f} to {high:.3f})"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
