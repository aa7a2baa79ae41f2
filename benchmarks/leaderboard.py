"""Command: a leaderboard of policies, as one file with a row for each policy and split.

``play`` plays a policy with the simulated user and in the recorded dialogues, and writes its row;
``table`` prints the file in Markdown. A row holds the command that makes it again.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import agent_gym_env
from agent_gym_env.assembly import choose_dialogues, make_env, play_episodes
from agent_gym_env.envs.dialogue import unwrap_sgd
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.statistics import Estimate
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.storage.files import written_whole

FILE = Path("docs/results/leaderboard.json")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a policy on one split; an estimate has a mean and its 95 % interval.

    Attributes:
        name: name of the policy in the table.
        split: split that was played.
        command: arguments of this command that make the row again.
        version: version of the package.
        corpus: fingerprint of the split.
        dialogues: number of dialogues, the same in both environments.
        seed: seed of their choice, and of each dialogue.
        user: options of the simulated user and of the noise, as JSON.
        strict: strict success with the simulated user.
        strict_unseen: the same where no service occurs in train.
        success: success.
        milestones: share of settled errands and answered questions.
        turns: turns of a dialogue.
        not_understood: share of turns that the user did not understand.
        balanced: reward ``balanced`` per turn in the recorded dialogues; ``None`` if not played.
        exact: share of the recorded calls that were made with exactly their arguments.
        exact_unseen: the same where no service occurs in train.
        tokens: mean number of tokens of a simulated dialogue, prompts included; 0 without a model.
        seconds: CPU seconds of a simulated dialogue.
        parameters: number of trained weights.
        training: how the policy was trained: data, time and hardware.
        privileged: whether it is told what no agent can know.
    """

    name: str
    split: str
    command: str
    version: str
    corpus: str
    dialogues: int
    seed: int
    user: str | None
    strict: Estimate
    strict_unseen: Estimate
    success: Estimate
    milestones: Estimate
    turns: Estimate
    not_understood: Estimate
    balanced: Estimate | None = None
    exact: Estimate | None = None
    exact_unseen: Estimate | None = None
    tokens: float = 0.0
    seconds: float = 0.0
    parameters: int = 0
    training: str = ""
    privileged: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a policy, or print the table."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="python -m benchmarks.leaderboard", description=__doc__)
    parser.add_argument("--out", type=Path, default=FILE, help="file of the leaderboard")
    commands = parser.add_subparsers(dest="task", required=True)
    commands.add_parser("table", help="print the file in Markdown")
    play = commands.add_parser("play", help="play a policy, and write its row")
    play.add_argument("name", help="name of the policy in the table")
    play.add_argument("--policy", type=json_or_name, required=True, help="its configuration")
    play.add_argument("--corpus", default="sample", help="name or path of a corpus")
    play.add_argument("--split", default="test", help="split to play")
    play.add_argument("--dialogues", type=int, default=200, help="number of dialogues")
    play.add_argument("--seed", type=int, default=0, help="seed")
    play.add_argument("--batch", type=int, default=1, help="dialogues that a model plays in step")
    play.add_argument("--env", type=msgspec.json.decode, default={}, help="more of SGDSim-v0")
    play.add_argument("--simulated-only", action="store_true", help="leave SGD-v0 out")
    play.add_argument("--parameters", type=int, default=0, help="number of trained weights")
    play.add_argument("--training", default="", help="data, time and hardware of the training")
    play.add_argument("--privileged", action="store_true", help="it is told what no agent knows")
    chosen = parser.parse_args(arguments)
    found = read_rows(chosen.out)
    if chosen.task == "play":
        row = play_row(chosen, shlex.join(arguments))
        found = [each for each in found if (each.name, each.split) != (row.name, row.split)]
        found.append(row)
        with written_whole(chosen.out) as file:
            file.write(msgspec.json.format(msgspec.json.encode(found)))
    print(table(found))
    return 0


def json_or_name(text: str) -> Any:
    """Read a name, or a JSON object with a name and options."""
    return msgspec.json.decode(text) if text.startswith("{") else text


def read_rows(path: Path) -> list[Row]:
    """Read a leaderboard; one that is not there has no rows."""
    return msgspec.json.decode(path.read_bytes(), type=list[Row]) if path.exists() else []


def play_row(chosen: argparse.Namespace, command: str) -> Row:
    """Play a policy in both environments."""
    shared = {"corpus": chosen.corpus, "split": chosen.split}
    options = {"episodes": chosen.dialogues, "seed": chosen.seed, "batch": chosen.batch}
    begin = time.process_time()
    played = list(play_episodes(chosen.policy, env="SGDSim-v0", **shared, **chosen.env, **options))
    seconds = time.process_time() - begin
    summary = summarize(played)
    figures = summary.simulated
    assert figures is not None
    recorded: dict[str, Estimate] = {}
    if not chosen.simulated_only:
        episodes = list(play_episodes(chosen.policy, reward="balanced", **shared, **options))
        whole, unseen = summarize(episodes), [each for each in episodes if not each.seen_services]
        recorded = {"balanced": whole.reward, "exact": whole.tools.exact_match}
        if unseen:
            recorded["exact_unseen"] = summarize(unseen).tools.exact_match
    env = make_env(**shared)
    return Row(
        name=chosen.name,
        split=chosen.split,
        command=command,
        version=agent_gym_env.__version__,
        corpus=unwrap_sgd(env).split.fingerprint,
        dialogues=len(choose_dialogues(env, chosen.dialogues, chosen.seed)),
        seed=chosen.seed,
        user=summary.setting.user,
        strict=figures.strict,
        strict_unseen=figures.strict_in.get("unseen", Estimate()),
        success=figures.success,
        milestones=figures.milestones,
        turns=figures.turns,
        not_understood=figures.user.not_understood,
        **recorded,
        tokens=round(sum(map(_tokens, played)) / len(played), 1),
        seconds=round(seconds / len(played), 4),
        parameters=chosen.parameters,
        training=chosen.training,
        privileged=chosen.privileged,
    )


def _tokens(episode: Episode) -> int:
    steps = (step for turn in episode.turns for step in turn.steps)
    usages = (step.action.completion and step.action.completion.usage for step in steps)
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in usages if usage)


def table(found: Sequence[Row]) -> str:
    """Return the leaderboard in Markdown, best strict success first, a table for each split."""
    lines: list[str] = []
    for split in sorted({row.split for row in found}):
        lines += [
            f"### {split}",
            "| policy | strict | unseen services | success | milestones | turns | balanced "
            "| exact calls | unseen services | dialogues |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        of_split = [row for row in found if row.split == split]
        for row in sorted(of_split, key=lambda row: -(row.strict.mean or 0.0)):
            figures = (
                interval(row.strict), figure(row.strict_unseen), figure(row.success),
                figure(row.milestones), figure(row.turns, 1), interval(row.balanced),
                figure(row.exact), figure(row.exact_unseen), str(row.dialogues),
            )  # fmt: skip
            lines.append(f"| {row.name}{' *' if row.privileged else ''} | {' | '.join(figures)} |")
        lines.append("")
    return "\n".join(lines)


def figure(estimate: Estimate | None, digits: int = 3) -> str:
    """Return a mean as text; ``""`` where it does not apply."""
    if estimate is None or estimate.mean is None:
        return ""
    return f"{estimate.mean:.{digits}f}"


def interval(estimate: Estimate | None) -> str:
    """Return a mean and its 95 % interval as text; ``""`` where it does not apply."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return figure(estimate)
    return f"{figure(estimate)} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    raise SystemExit(main())
