"""Command: how a policy that was learned in one place plays in another.

The policy is made for one corpus, in its original schema, and plays a split of the same corpus or
of another one, with the simulated user (``SGDSim-v0``) or in the recorded dialogues (``SGD-v0``).
Prints a row of a Markdown table for each schema variant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.policies.base import Policy
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.play import play_all
from benchmarks.leaderboard import figure, interval, json_or_name

RECORDED = ("balanced", "seen", "unseen", "exact calls", "seen", "unseen")
SIMULATED = ("strict", "seen", "unseen", "success", "milestones", "turns")


def main(arguments: Sequence[str] | None = None) -> int:
    """Play a policy in other schemas, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("name", help="name of the policy in the table")
    parser.add_argument("--policy", type=json_or_name, required=True, help="its configuration")
    parser.add_argument("--learned", help="corpus that it learns from; by default --corpus")
    parser.add_argument("--corpus", default="sample", help="corpus that it plays")
    parser.add_argument("--split", default="test", help="split that it plays")
    parser.add_argument(
        "--schema-variant", nargs="+", default=["original"], help="original, or v1 to v5"
    )
    parser.add_argument("--env", choices=("SGD-v0", "SGDSim-v0"), default="SGDSim-v0")
    parser.add_argument("--understanding", choices=("text", "acts"), help="of SGDSim-v0's user")
    parser.add_argument("--dialogues", type=int, default=200, help="number of dialogues")
    chosen = parser.parse_args(arguments)
    columns = RECORDED if chosen.env == "SGD-v0" else SIMULATED
    print(f"| policy | schema | {' | '.join(columns)} | dialogues |")
    print("|---" * (len(columns) + 3) + "|")
    for schema in chosen.schema_variant:
        found = row(play_variant(chosen, None if schema == "original" else schema))
        print(f"| {chosen.name} | {schema} | {' | '.join(found)} |", flush=True)
    return 0


def play_variant(chosen: argparse.Namespace, variant: str | None) -> list[Episode]:
    """Play some dialogues in one schema."""
    world: dict[str, Any] = {"split": chosen.split}
    world["reward"] = "balanced" if chosen.env == "SGD-v0" else "task"
    if chosen.understanding is not None:
        world["understanding"] = chosen.understanding
    env = make_env(env=chosen.env, corpus=chosen.corpus, schema_variant=variant, **world)
    ids = choose_dialogues(env, chosen.dialogues, seed=0)
    return list(play_all(env, learned_policy(chosen, env), ids))


def learned_policy(chosen: argparse.Namespace, env: Any) -> Policy:
    """Make the policy from what it learned, or for ``env`` if it is told the user's acts."""
    home = make_env(corpus=chosen.learned or chosen.corpus)
    try:
        return make_policy(chosen.policy, home)
    except TypeError:  # recorded dialogues do not tell a user's acts
        return make_policy(chosen.policy, env)


def row(episodes: Sequence[Episode]) -> list[str]:
    """Return the figures of some episodes, as cells of a table."""
    whole = summarize(episodes)
    count = str(len(episodes))
    if whole.simulated is not None:
        figures = whole.simulated
        apart = [interval(figures.strict_in[group]) for group in ("seen", "unseen")]
        others = [figure(figures.success), figure(figures.milestones), figure(figures.turns, 1)]
        return [interval(figures.strict), *apart, *others, count]
    seen = [each for each in episodes if each.seen_services == each.services]
    unseen = [each for each in episodes if not each.seen_services]
    parts = [whole, summarize(seen) if seen else None, summarize(unseen) if unseen else None]
    rewards = [interval(part.reward if part else None) for part in parts]
    exact = [interval(part.tools.exact_match if part else None) for part in parts]
    return [*rewards, *exact, count]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
