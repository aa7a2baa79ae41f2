"""``agent-gym play`` and ``agent-gym demo``."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.cli.console import print_json, print_table, tracked
from agent_gym_env.cli.human import HumanPolicy
from agent_gym_env.cli.settings import Demo, Play
from agent_gym_env.cli.simulation_view import SimulationView
from agent_gym_env.envs.render import printable, render_ansi
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.rollout.episode import Episode, transcript
from agent_gym_env.rollout.play import play

_DEMO_POLICIES = ("oracle", "retrieval", "constant", "silent")


def play_one(settings: Play) -> None:
    """Play one dialogue and print it; a simulated one, and one with a person, as it happens.

    Raises:
        ValueError: a person shall play, and print JSON.
    """
    env = make_env(reward=settings.reward or settings.default_reward(), **settings.environment())
    named = settings.policy or settings.default_policy()
    if named["name"] == HumanPolicy.name and settings.json:
        raise ValueError("--policy human talks to a person: leave out --json")
    policy = HumanPolicy() if named["name"] == HumanPolicy.name else make_policy(named, env)
    if settings.is_simulation and not settings.json:
        env = SimulationView(env)
    episode = play(env, policy, dialogue_id=settings.dialogue_id, seed=settings.seed)
    if settings.json:
        print_json(episode)
    elif settings.is_simulation:
        show_rewards(episode)
    else:
        show(episode)


def show(episode: Episode) -> None:
    """Print an episode: the conversation, then the reward of each turn."""
    messages = "[]"
    for turn in transcript(episode):
        messages = turn.closed
    print(render_ansi(episode.dialogue_id, messages))
    show_rewards(episode)


def show_rewards(episode: Episode) -> None:
    """Print the reward of each turn of an episode."""
    parts = list(episode.turns[0].components) if episode.turns else []
    table = [
        [str(number), _number(turn.reward), *(_number(turn.components[part]) for part in parts)]
        for number, turn in enumerate(episode.turns)
    ]
    print_table(["turn", episode.reward, *parts], table)
    if episode.error:
        print(printable(f"the policy failed: {episode.error}"))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def demo(settings: Demo) -> None:
    """Evaluate the offline policies on the sample corpus, and show two dialogues."""
    # Only here: they take longer to import than `play` needs.
    from agent_gym_env.evaluation.evaluate import summarize
    from agent_gym_env.evaluation.report import write_report
    from agent_gym_env.evaluation.table import HEADER, rows

    begin = time.perf_counter()
    evaluated = []
    for name in _DEMO_POLICIES:
        world: dict[str, Any] = {
            "split": "dev",
            "reward": "balanced",
            "episodes": settings.episodes,
        }
        episodes = list(tracked(name, partial(rollout, name, **world)))
        evaluated.append((summarize(episodes), episodes))
    settings.out.mkdir(parents=True, exist_ok=True)
    report = write_report(settings.out / "report.html", evaluated)
    if settings.json:
        print_json([evaluation for evaluation, _ in evaluated])
        return
    show(evaluated[1][1][0])
    print_table(HEADER, rows(evaluation for evaluation, _ in evaluated),
                title="reward 'balanced' on the dev split of the sample corpus")  # fmt: skip
    show_simulated()
    print(f"report: {report}")
    print(f"{time.perf_counter() - begin:.0f} s; next: {_command()} play --help, docs/")


def show_simulated() -> None:
    """Play a dialogue with a simulated user; print the conversation and the verdict."""
    env = make_env(env="SGDSim-v0", split="dev", reward="task", understanding="acts")
    episode = play(env, make_policy("acts-oracle", env), seed=0)
    *_, last = transcript(episode)
    print("A simulated user (SGDSim-v0), and an agent that knows the user's acts:")
    print(render_ansi(episode.dialogue_id, last.closed))
    simulated = episode.turns[-1].simulated
    verdict = Verdict() if simulated is None else simulated.verdict
    outcome = "a strict success" if verdict.strict else ", ".join(verdict.reasons)
    total = sum(turn.reward or 0.0 for turn in episode.turns)
    print(f"verdict: {outcome}; reward 'task': {total:.2f}")


def _command() -> str:
    """Return the command as it was called, such as ``.venv/bin/agent-gym``."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "agent-gym" else "agent-gym"
