"""``agent-gym play`` and ``agent-gym demo``."""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from agent_gym_env.assembly import make_env, make_policy, rollout
from agent_gym_env.cli.arguments import (
    add_world,
    policy_config,
    positive,
    reward_config,
    whole_number,
    world_arguments,
)
from agent_gym_env.cli.console import print_table, tracked
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.envs.render import printable, render_ansi
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.report import write_report
from agent_gym_env.evaluation.table import HEADER, rows
from agent_gym_env.rollout.episode import Episode, transcript
from agent_gym_env.rollout.play import play

_DEMO_POLICIES = ("oracle", "retrieval", "constant", "silent")


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    player = commands.add_parser("play", help="play one dialogue and show it")
    add_world(player, split="train")
    player.add_argument("--policy", type=policy_config, default={"name": "oracle"},
                        help="a name, or a JSON object with options; default: oracle")  # fmt: skip
    player.add_argument("--reward", type=reward_config, default={"name": "balanced"})
    player.add_argument("--dialogue-id", help="default: one drawn with the seed")
    player.add_argument("--seed", type=whole_number, default=0)
    player.set_defaults(run=_play)

    demo = commands.add_parser("demo", help="evaluate the offline policies on the sample corpus")
    demo.add_argument("--out", type=Path, default=Path("out/demo"), help="default: %(default)s")
    demo.add_argument("--episodes", type=positive, default=None, help="default: all of dev")
    demo.set_defaults(run=_demo)


def _play(options: argparse.Namespace) -> None:
    env = make_env(reward=options.reward, **world_arguments(options))
    policy = make_policy(options.policy, env)
    show(play(env, policy, dialogue_id=options.dialogue_id, seed=options.seed))


def show(episode: Episode) -> None:
    """Print an episode: the conversation, then what each turn earned."""
    messages = "[]"
    for turn in transcript(episode):
        messages = turn.closed
    print(render_ansi(episode.dialogue_id, messages))
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


def _demo(options: argparse.Namespace) -> None:
    begin = time.perf_counter()
    evaluated = []
    for name in _DEMO_POLICIES:
        world = {"split": "dev", "reward": "balanced", "episodes": options.episodes}
        episodes = list(tracked(name, partial(rollout, name, **world)))
        evaluated.append((summarize(episodes), episodes))
    options.out.mkdir(parents=True, exist_ok=True)
    report = write_report(options.out / "report.html", evaluated)
    show(evaluated[1][1][0])
    print_table(HEADER, rows(evaluation for evaluation, _ in evaluated),
                title="reward 'balanced' on the dev split of the sample corpus")  # fmt: skip
    print(f"report: {report}")
    print(f"{time.perf_counter() - begin:.0f} s; next: {_command()} play --help, docs/")


def _command() -> str:
    """Return the command as it was called, such as ``.venv/bin/agent-gym``."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "agent-gym" else "agent-gym"
