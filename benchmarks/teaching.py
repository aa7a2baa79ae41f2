"""Command: strict success before and after reinforcement learning in ``SGDSim-v0``.

Each condition trains several seeds on train, and plays the clone, the trained policy and a
rule-based agent on held-out dialogues. What is there already is not trained or played again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.assembly import choose_dialogues, make_env, make_policy
from agent_gym_env.corpus.corpus import Split, open_corpus
from agent_gym_env.envs.sgd_sim import unwrap_simulation
from agent_gym_env.evaluation.simulated import groups_of, outcome
from agent_gym_env.evaluation.statistics import Floats, paired_difference
from agent_gym_env.rollout.play import play
from agent_gym_env.storage.files import written_whole
from agent_gym_env.training.act_envs import ActEnvs
from agent_gym_env.training.act_ppo import train_act_ppo
from agent_gym_env.training.curve import read_curve
from agent_gym_env.training.ppo_config import ActPPOConfig
from agent_gym_env.training.ppo_run import CHECKPOINT

GROUPS = ("all", "seen", "unseen", "with_write")
RESAMPLES = 2000
_NOISE = {"acts": 0.1, "values": 0.05}
_ACTS: dict[str, Any] = {"understanding": "acts"}
_FEW = {"dialogues": 20, "epochs": 300}
_WORDS: dict[str, Any] = {"world": {"hears": "words"}, "total_timesteps": 250_000}
_WORDS_NOISE = _WORDS | {"world": {"env": {"noise": _NOISE}, "hears": "words"}}
_RULES = {"cloning": {"dialogues": 1500, "epochs": 30}, "teacher": "rules"}

CONDITIONS: Mapping[str, dict[str, Any]] = {
    "acts": {"world": {"env": _ACTS, "hears": "acts"}},
    "acts, little noise": {
        "world": {"env": _ACTS | {"noise": {"acts": 0.05, "values": 0.025}}, "hears": "acts"}
    },
    "acts, noise": {"world": {"env": _ACTS | {"noise": _NOISE}, "hears": "acts"}},
    "acts, 20 demonstrations": {"world": {"env": _ACTS, "hears": "acts"}, "cloning": _FEW},
    "acts, no demonstrations": {
        "world": {"env": _ACTS, "hears": "acts"},
        "cloning": {"dialogues": 0},
        "learning_rate": 1e-3,
        "total_timesteps": 600_000,
    },
    "words": _WORDS,
    "words, noise": _WORDS_NOISE,
    "words, taught by rules": _WORDS | _RULES,
    "words, noise, taught by rules": _WORDS_NOISE | _RULES,
}
"""Settings of `ActPPOConfig` by condition. ``acts``: user and agent exchange acts, a privilege;
``words``: both read the other's words. The teacher is the recorded agent if nothing else is said.
"""


class Played(msgspec.Struct, frozen=True):
    """Outcomes of one policy on held-out dialogues.

    Attributes:
        condition: name of the condition.
        seed: seed of the training.
        policy: ``rule``, ``clone`` or ``trained``.
        split: split that was played.
        dialogues: ids of the dialogues.
        strict: for each, whether it was a strict success.
        success: for each, whether it was a success.
        milestones: for each, the share of milestones.
        turns: for each, the number of turns.
        groups: for each, its groups of services.
        seconds: CPU seconds of the training.
        in_train: number of these dialogues whose user says the same in a dialogue of train.
    """

    condition: str
    seed: int
    policy: str
    split: str
    dialogues: list[str]
    strict: list[bool]
    success: list[bool]
    milestones: list[float]
    turns: list[int]
    groups: list[list[str]]
    seconds: float
    in_train: int


class Row(msgspec.Struct, frozen=True):
    """A line of the table: means over seeds and dialogues.

    Attributes:
        condition: name of the condition.
        policy: name of the policy.
        split: split that was played.
        seeds: number of seeds.
        strict: strict success by group.
        low: lower end of the 95 % interval of ``all``, over dialogues.
        high: upper end.
        gain: what was gained on the clone, with its paired interval; ``None`` for other policies.
        lead: the same on the rule-based agent.
        success: success.
        turns: turns.
        seconds: CPU seconds of a training.
        in_train: as in `Played`.
    """

    condition: str
    policy: str
    split: str
    seeds: int
    strict: dict[str, float]
    low: float
    high: float
    gain: tuple[float, float, float] | None
    lead: tuple[float, float, float] | None
    success: float
    turns: float
    seconds: float
    in_train: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and play what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teaching", description=__doc__)
    parser.add_argument("--corpus", default="sample", help="name or path of a corpus")
    parser.add_argument(
        "--condition", action="append", choices=CONDITIONS, help="all by default; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds")
    parser.add_argument("--dialogues", type=int, help="dialogues of each split; all by default")
    parser.add_argument("--config", type=msgspec.json.decode, default={}, help="more settings")
    parser.add_argument("--out", type=Path, default=Path("out/teaching"), help="folder")
    chosen = parser.parse_args(arguments)
    said = _said(open_corpus(chosen.corpus).split("train"))
    found: list[Played] = []
    for condition in chosen.condition or CONDITIONS:
        for seed in range(chosen.seeds):
            settings = CONDITIONS[condition] | chosen.config
            study = Study(chosen.corpus, said, condition, settings, seed, chosen.out)
            found += study.played(chosen.dialogues)
    with written_whole(chosen.out / "rows.json") as file:
        file.write(msgspec.json.format(msgspec.json.encode(list(rows(found)))))
    print("\n".join(table(rows(found))))
    return 0


class Study:
    """One condition with one seed.

    Args:
        corpus: name or path of the corpus.
        said: the user's words in each dialogue of train.
        condition: name of the condition.
        settings: settings of the training.
        seed: seed of the training.
        out: folder of all studies.
    """

    def __init__(
        self,
        corpus: str,
        said: Set[tuple[str, ...]],
        condition: str,
        settings: Mapping[str, Any],
        seed: int,
        out: Path,
    ) -> None:
        self._said = said
        world = settings.get("world", {})
        self._env = {**world.get("env", {}), "corpus": corpus}
        changed = {"world": world | {"env": self._env}, "seed": seed}
        self._config = msgspec.convert({**settings, **changed}, ActPPOConfig)
        self._names = (condition, seed)
        self._out = out / f"{condition.replace(', ', '-').replace(' ', '_')}-{seed}"

    def played(self, dialogues: int | None) -> Iterator[Played]:
        """Yield the outcomes of every policy on dev and test."""
        policies = ["trained"]
        if self._config.cloning.dialogues:
            policies.append("clone")
        if self._names[1] == 0:
            policies.append("rule")
        for policy in policies:
            for split in ("dev", "test"):
                path = self._out / f"{split}-{policy}.json"
                if not path.exists():
                    with written_whole(path) as file:
                        file.write(msgspec.json.encode(self._play(policy, split, dialogues)))
                yield msgspec.json.decode(path.read_bytes(), type=Played)

    def _configuration(self, policy: str) -> Any:
        """Return the configuration of a policy; train it if it is not there."""
        if policy == "rule":
            return self._rule_agent()
        stage = {"trained": "policy", "clone": "cloned"}[policy]
        return {"name": "acts", "path": self._trained(stage)}

    def _rule_agent(self) -> Any:
        """Return the configuration of the rule-based agent with the ears of the trained policy."""
        if self._config.world.hears == "acts":
            return "acts-oracle"
        count = ActEnvs(self._config.world).training_dialogues
        return {"name": "rule", "training_dialogues": count, "indexed": 0}

    def _trained(self, stage: str) -> str:
        """Return the path of a policy; train it if it is not there."""
        if not self._is_trained():
            train_act_ppo(self._config, out=self._out, resume=(self._out / CHECKPOINT).exists())
        return str(self._out / f"{stage}.npz")

    def _is_trained(self) -> bool:
        path = self._out / "curve.jsonl"
        return path.exists() and read_curve(path)[-1].steps >= self._config.total_timesteps

    def _play(self, policy: str, split: str, dialogues: int | None) -> Played:
        config = self._configuration(policy)
        env = make_env(env="SGDSim-v0", split=split, **self._env)
        agent, bare = make_policy(config, env), unwrap_simulation(env)
        ids = choose_dialogues(env, dialogues, 0)
        episodes = [play(env, agent, dialogue_id=each, seed=n) for n, each in enumerate(ids)]
        ended = [outcome(episode) for episode in episodes]
        known = [end for end in ended if end is not None]
        assert len(known) == len(ids), "a dialogue broke off"
        condition, seed = self._names
        return Played(
            condition, seed, policy, split, ids,
            [end.strict for end in known],
            [end.success for end in known],
            [end.milestones for end in known],
            [len(episode.turns) for episode in episodes],
            [list(groups_of(episode)) for episode in episodes],
            read_curve(self._out / "curve.jsonl")[-1].cpu_s if policy == "trained" else 0.0,
            sum(_words(bare.split, bare.split.index(each)) in self._said for each in ids),
        )  # fmt: skip


def _said(split: Split) -> set[tuple[str, ...]]:
    return {_words(split, index) for index in range(len(split))}


def _words(split: Split, index: int) -> tuple[str, ...]:
    return tuple(turn.user for turn in split.task(index).turns)


def rows(found: Iterable[Played]) -> Iterator[Row]:
    """Yield a row for each policy, condition and split; seeds are averaged for each dialogue."""
    groups: dict[tuple[str, str, str], list[Played]] = {}
    for each in found:
        groups.setdefault((each.condition, each.policy, each.split), []).append(each)
    for (condition, policy, split), runs in groups.items():
        strict = _means(runs)
        gain, lead = (
            _compared(strict, _means(groups[condition, other, split]))
            if policy == "trained" and (condition, other, split) in groups
            else None
            for other in ("clone", "rule")
        )
        _, low, high = _compared(strict, np.zeros_like(strict))
        first = runs[0]
        in_group = {
            group: [group == "all" or group in each for each in first.groups] for group in GROUPS
        }
        yield Row(
            condition, policy, split, len(runs),
            {group: round(float(strict[chosen].mean()), 4)
             for group, chosen in in_group.items() if any(chosen)},
            low, high, gain, lead,
            round(float(np.mean([run.success for run in runs])), 4),
            round(float(np.mean([run.turns for run in runs])), 2),
            round(float(np.mean([run.seconds for run in runs])), 0),
            first.in_train,
        )  # fmt: skip


def _means(runs: Sequence[Played]) -> Floats:
    """Return the strict success of each dialogue, averaged over seeds."""
    means: Floats = np.mean([np.array(run.strict, np.float64) for run in runs], axis=0)
    return means


def _compared(first: Floats, second: Floats) -> tuple[float, float, float]:
    """Return the mean difference with its 95 % interval from resampled dialogues."""
    found = paired_difference(
        first, second, np.ones_like(first), resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    mean = float(found.difference or 0.0)
    low, high = (mean if end is None else end for end in (found.low, found.high))
    return round(mean, 4), round(low, 4), round(high, 4)


def table(found: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield (
        "| condition | policy | split | seeds | strict | unseen | gain on clone | lead on rule "
        "| turns | CPU s |"
    )
    yield "|---" * 10 + "|"
    for row in found:
        strict = f"{row.strict['all']:.3f} [{row.low:.3f}, {row.high:.3f}]"
        gain, lead = (
            "" if each is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*each)
            for each in (row.gain, row.lead)
        )
        unseen = f"{row.strict['unseen']:.3f}" if "unseen" in row.strict else ""
        yield (
            f"| {row.condition} | {row.policy} | {row.split} | {row.seeds} | {strict} | {unseen} "
            f"| {gain} | {lead} | {row.turns:.1f} | {row.seconds:.0f} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
