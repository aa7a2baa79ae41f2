"""``agent-gym agreement``: what a judge is worth."""

from __future__ import annotations

import argparse

from agent_gym_env.assembly import choose_dialogues, make_env
from agent_gym_env.cli.arguments import (
    add_corpus,
    add_json,
    add_model,
    add_variant,
    positive,
    reward_config,
    whole_number,
)
from agent_gym_env.cli.console import print_json, print_table, progress
from agent_gym_env.cli.exit_codes import VERDICTS_ARE_KEPT
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.evaluation.agreement import agreement
from agent_gym_env.evaluation.table import AGREEMENT_HEADER, agreement_rows, interval, number
from agent_gym_env.rewards.presets import make_reward_for


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command of this module."""
    parser = commands.add_parser(
        "agreement", help="say whether a judge ranks replies as the ground truth does"
    )
    parser.add_argument("--judge", type=reward_config, default={"name": "llm_judge"},
                        help="a reward; default: llm_judge")  # fmt: skip
    parser.add_argument("--truth", type=reward_config, default={"name": "balanced"},
                        help="the reward that is trusted; default: balanced")  # fmt: skip
    add_corpus(parser)
    add_model(parser)
    add_variant(parser)
    parser.add_argument("--split", choices=SPLITS, default="dev", help="default: %(default)s")
    parser.add_argument("--episodes", type=positive, default=5, metavar="N",
                        help="dialogues, of some fifty replies each; default: 5")  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0)
    add_json(parser)
    parser.set_defaults(run=_agreement, goes_on=VERDICTS_ARE_KEPT)


def _agreement(options: argparse.Namespace) -> None:
    world = {"corpus": options.corpus, "schema_variant": options.schema_variant}
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    split = corpus.split(options.split)
    env = make_env(split=options.split, **world)
    with progress("agreement") as advance:
        done = 0

        def count(answers: int) -> None:
            nonlocal done
            done += answers
            advance(done, None)

        found = agreement(
            split,
            make_reward_for(options.judge, split, corpus),
            make_reward_for(options.truth, split, corpus),
            choose_dialogues(env, options.episodes, options.seed),
            seed=options.seed,
            on_answers=count,
        )
    if options.json:
        print_json(found)
        return
    correlation = found.rank_correlation
    title = f"{found.judge} beside {found.truth}, split {found.split!r}, {found.turns} turns"
    print_table(AGREEMENT_HEADER, agreement_rows(found), title)
    print(
        f"rank correlation over {correlation.count} replies: {number(correlation.mean)} "
        f"({interval(correlation)}); {correlation.left_out} could not be judged"
    )
