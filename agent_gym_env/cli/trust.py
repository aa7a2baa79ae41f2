"""``agent-gym verify`` and ``agent-gym audit``: whether a reward can be trusted."""

from __future__ import annotations

import argparse
from functools import partial
from itertools import count

from agent_gym_env.assembly import choose_dialogues, make_env, make_reward, rollout
from agent_gym_env.cli.arguments import (
    add_corpus,
    add_json,
    add_model,
    add_variant,
    positive,
    reward_config,
    whole_number,
)
from agent_gym_env.cli.console import print_json, print_table, progress, tracked
from agent_gym_env.cli.exit_codes import VERDICTS_ARE_KEPT
from agent_gym_env.cli.parser import Subparsers
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.sgd import SPLITS
from agent_gym_env.evaluation.audit import audit
from agent_gym_env.evaluation.table import (
    VERIFICATION_HEADER,
    audit_header,
    audit_rows,
    verification_rows,
)
from agent_gym_env.evaluation.verify import Verification, verify
from agent_gym_env.rewards.base import Reward

_REWARDS = ("ground_truth", "balanced")


def add_commands(commands: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands of this module."""
    verification = commands.add_parser(
        "verify", help="play the oracle over a corpus; list each turn below 1.0"
    )
    add_corpus(verification)
    add_variant(verification)
    verification.add_argument("--split", choices=SPLITS, action="append", help="default: all")
    _add_rewards(verification)
    add_json(verification)
    verification.set_defaults(run=_verify, goes_on=VERDICTS_ARE_KEPT)

    gaming = commands.add_parser("audit", help="say what the ways to game a reward earn")
    add_corpus(gaming)
    add_model(gaming)
    add_variant(gaming)
    gaming.add_argument("--split", choices=SPLITS, default="dev", help="default: %(default)s")
    gaming.add_argument("--episodes", type=positive, metavar="N", help="default: all dialogues")
    gaming.add_argument("--seed", type=whole_number, default=0)
    _add_rewards(gaming)
    add_json(gaming)
    gaming.set_defaults(run=_audit, goes_on=VERDICTS_ARE_KEPT)


def _add_rewards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--reward", type=reward_config, action="append", help="default: ground_truth and balanced"
    )


def _rewards(options: argparse.Namespace, split: str) -> list[Reward]:
    configs = options.reward or _REWARDS
    world = {"corpus": options.corpus, "schema_variant": options.schema_variant, "split": split}
    return [make_reward(config, **world) for config in configs]


def _verify(options: argparse.Namespace) -> int:
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    found = []
    for split in options.split or corpus.splits():
        world = {"corpus": options.corpus, "schema_variant": options.schema_variant}
        played = tracked(split, partial(rollout, "oracle", split=split, **world))
        found.append(verify(played, _rewards(options, split)))
    if options.json:
        print_json(found)
    else:
        for verification in found:
            _print_verification(verification)
    return 1 if any(verification.short for verification in found) else 0


def _print_verification(verification: Verification) -> None:
    print(
        f"{verification.split}: {verification.dialogues} dialogues, {verification.turns} turns, "
        f"rewards {', '.join(verification.rewards)}: {len(verification.short)} turns below 1.0"
    )
    if verification.short:
        print_table(VERIFICATION_HEADER, verification_rows(verification), keys=2)


def _audit(options: argparse.Namespace) -> None:
    world = {
        "corpus": options.corpus,
        "schema_variant": options.schema_variant,
        "split": options.split,
    }
    env = make_env(**world)
    corpus = open_corpus(options.corpus, schema_variant=options.schema_variant)
    honest = {}
    if "train" in corpus.splits():
        play = partial(rollout, episodes=options.episodes, seed=options.seed, **world)
        honest["retrieval"] = list(tracked("retrieval", partial(play, "retrieval")))
    with progress("audit") as advance:
        rows_done = count(1)
        audited = audit(
            corpus.split(options.split),
            _rewards(options, options.split),
            choose_dialogues(env, options.episodes, options.seed),
            played=honest,
            seed=options.seed,
            on_row=lambda _: advance(next(rows_done), None),
        )
    if options.json:
        print_json(audited)
        return
    title = f"split {audited.split!r}, {audited.dialogues} dialogues, {audited.turns} turns"
    print_table(audit_header(audited), audit_rows(audited), title)
