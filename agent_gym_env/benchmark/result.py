"""The result of a benchmark: one file with the outcome of each episode and the figures of them.

Figures are computed from the outcomes in the file alone, so that anybody can compute them again.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from agent_gym_env.benchmark.manifest import (
    Hash,
    Manifest,
    Name,
    Text,
    explained_with_place,
    refuse_deep,
)
from agent_gym_env.corpus.task import Task
from agent_gym_env.errors import DataError
from agent_gym_env.evaluation.evaluate import RESAMPLES
from agent_gym_env.evaluation.metrics import is_ended, tool_counts
from agent_gym_env.evaluation.simulated import groups_of, outcome, pass_all
from agent_gym_env.evaluation.statistics import Bootstrap, ClusterSums, Estimate
from agent_gym_env.rollout.episode import (
    Episode,
    Number,
    Spending,
    defaults_by_tool,
    spent_on,
)
from agent_gym_env.rollout.journal.format import fingerprint
from agent_gym_env.storage.files import read_file, written_whole

RESULT_FORMAT = 1
MAX_RESULT_BYTES = 64 * 2**20
"""A larger file is refused before it is read."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
Group = Literal["seen", "mixed", "unseen"]


class EpisodeOutcome(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Outcome of one episode.

    Attributes:
        dialogue_id: id of the dialogue.
        seed: seed of the episode.
        turns: number of turns by which the rewards are divided. If an episode broke off in a
            recorded dialogue, the turns that were not played count, with a reward of 0.
        rewards: reward of each turn that was played; ``None`` for an unknown one.
        group: ``seen`` if train has all of the dialogue's services, ``unseen`` if it has none;
            ``None`` if the corpus has no train split.
        success: whether the user's goal was reached; ``None`` for a recorded dialogue. A dialogue
            that broke off is not a success.
        strict: whether it was reached without a broken rule.
        milestones: share of settled errands and answered questions.
        due: number of calls that were due; 0 in a simulated dialogue.
        exact: number of them that were made with exactly their arguments.
        calls: number of calls that were made.
        error: class of the error if the episode failed.
        spending: completions of language models; ``None`` if none was asked.
    """

    dialogue_id: Name
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    turns: Annotated[int, msgspec.Meta(ge=0, le=100_000)]
    rewards: Annotated[tuple[Number | None, ...], msgspec.Meta(max_length=100_000)] = ()
    group: Group | None = None
    success: bool | None = None
    strict: bool | None = None
    milestones: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    due: Count = 0
    exact: Count = 0
    calls: Count = 0
    error: Name | None = None
    spending: Spending | None = None

    def __post_init__(self) -> None:
        """Check that the counts agree; decoders call this, too.

        Raises:
            ValueError: there are more rewards than turns, or more exact calls than due ones.
        """
        if len(self.rewards) > self.turns or self.exact > self.due:
            raise ValueError("more rewards than turns, or more exact calls than due ones")

    @property
    def earned(self) -> float | None:
        """Sum of the rewards; ``None`` if one is unknown."""
        known = [each for each in self.rewards if each is not None]
        return math.fsum(known) if len(known) == len(self.rewards) else None


class PassAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """pass^k: probability that all of k plays of a dialogue succeed, estimated without bias.

    Attributes:
        k: number of plays.
        strict: pass^k of strict success.
        success: pass^k of success.
    """

    k: int
    strict: Estimate
    success: Estimate


class Figures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of a result; the intervals are those of a bootstrap over dialogues.

    Attributes:
        estimates: estimates by name. Simulated dialogues: ``strict``, ``success``, ``milestones``,
            ``turns``. Recorded ones: ``reward`` (per turn) and ``exact_calls`` (share of the due
            calls). Both: ``return``, ``calls``, and the first figure in ``seen`` and ``unseen``
            dialogues.
        pass_all: pass^k for each k up to the number of plays; empty for recorded dialogues.
        failed: number of episodes that broke off.
        spending: completions, tokens and cost of all episodes; ``None`` if no model was asked.
    """

    estimates: dict[str, Estimate]
    pass_all: tuple[PassAll, ...]
    failed: int
    spending: Spending | None


class PlayedPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The policy of a result, as it was configured.

    Attributes:
        name: name of the policy.
        configuration: its name and options, without credentials.
        models: names of the language models that answered.
        files: SHA-256 of the files and folders that the options name, by option.
        code: SHA-256 of the source of this package, and of the policy's module if it is another's.
        versions: versions of Python and of the packages that took part.
    """

    name: Name
    configuration: dict[str, Any]
    models: Annotated[tuple[Name, ...], msgspec.Meta(max_length=100)] = ()
    files: dict[Name, Hash] = {}
    code: dict[Name, Hash] = {}
    versions: dict[Name, Name] = {}

    def __post_init__(self) -> None:
        """Check the configuration; decoders call this, too.

        Raises:
            ValueError: it nests too deeply.
        """
        refuse_deep(self.configuration)


class Result(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of one policy in one benchmark.

    Attributes:
        label: name of the policy in tables.
        note: what a reader of a table should know, for example that a policy is told what no agent
            can know.
        manifest: the benchmark.
        manifest_hash: hash of the manifest.
        policy: the policy.
        journal_hash: SHA-256 of the journal of the episodes; see `journal_hash`.
        episodes: outcomes, dialogue by dialogue in the manifest's order, with all plays of a
            dialogue in a row.
        figures: figures of the outcomes.
        format: version of this format.
        hash: SHA-256 of all other fields.
    """

    label: Name
    note: Text = ""
    manifest: Manifest
    manifest_hash: Hash
    policy: PlayedPolicy
    journal_hash: Hash
    episodes: Annotated[tuple[EpisodeOutcome, ...], msgspec.Meta(max_length=1_000_000)]
    figures: Figures
    format: int = RESULT_FORMAT
    hash: str = ""

    def with_hash(self) -> Result:
        """Return the result with its hash."""
        fields = msgspec.to_builtins(msgspec.structs.replace(self, hash=""))
        return msgspec.structs.replace(self, hash=fingerprint(fields))


def read_result(path: str | Path) -> Result:
    """Read a result. Nothing in it is trusted: `check_result` compares its parts.

    Raises:
        DataError: the file is missing, too large, or is not a result.
    """
    content = read_file(path, largest=MAX_RESULT_BYTES)
    try:
        result = msgspec.json.decode(content, type=Result)
    except msgspec.ValidationError as error:
        problem = explained_with_place(error, Result)
        raise DataError(f"not the result of a benchmark: {problem}", file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not the result of a benchmark: {error}", file=str(path)) from error
    if result.format != RESULT_FORMAT:
        problem = f"the format is {result.format}; this version reads {RESULT_FORMAT}"
        raise DataError(problem, file=str(path))
    return result


def write_result(result: Result, path: str | Path) -> None:
    """Write a result as JSON, one episode a line.

    Raises:
        StorageError: the disk does not take it.
    """
    head = msgspec.to_builtins(msgspec.structs.replace(result, episodes=()))
    rows = b",\n    ".join(msgspec.json.encode(each) for each in result.episodes)
    text = msgspec.json.format(msgspec.json.encode(head), indent=2)
    before, empty, after = text.partition(b'"episodes": []')
    with written_whole(Path(path)) as file:
        file.write(before + empty[:-1] + b"\n    " + rows + b"\n  ]" + after + b"\n")


def outcome_of(episode: Episode, task: Task | None) -> EpisodeOutcome:
    """Return the outcome of a recorded episode.

    Args:
        episode: the episode.
        task: the dialogue in the corpus; ``None`` only for an episode that ended.
    """
    is_simulated = episode.simulated_user is not None
    found = outcome(episode) if is_simulated else None
    defaults = defaults_by_tool(episode.tools)
    counts = [
        tool_counts(turn.target.calls, turn.calls, episode.date, defaults)
        for turn in episode.turns
        if turn.target is not None
    ]
    ended = is_simulated or is_ended(episode)  # a limit of steps belongs to the benchmark
    lost = () if ended or task is None else task.turns[len(episode.turns) :]
    return EpisodeOutcome(
        dialogue_id=episode.dialogue_id,
        seed=episode.seed or 0,
        turns=len(episode.turns) + len(lost),
        rewards=tuple([turn.reward for turn in episode.turns]),
        group=group_of(episode),
        success=bool(found and found.success) if is_simulated else None,
        strict=bool(found and found.strict) if is_simulated else None,
        milestones=(found.milestones if found else 0.0) if is_simulated else None,
        due=sum(each.due for each in counts) + sum(len(turn.calls) for turn in lost),
        exact=sum(each.exact for each in counts),
        calls=sum(len(turn.calls) for turn in episode.turns),
        error=None if episode.error is None else episode.error.partition(":")[0][:200],
        spending=spent_on(step for turn in episode.turns for step in turn.steps),
    )


def group_of(episode: Episode) -> Group | None:
    """Return whether the train split has all, some or none of an episode's services."""
    known: tuple[Group, ...] = ("seen", "mixed", "unseen")
    of_episode = set(groups_of(episode))
    return next((each for each in known if each in of_episode), None)


def figures_of(manifest: Manifest, episodes: Sequence[EpisodeOutcome]) -> Figures:
    """Compute the figures of outcomes.

    Args:
        manifest: the benchmark.
        episodes: outcomes of all its episodes.
    """
    sums = ClusterSums()
    plays: defaultdict[str, list[EpisodeOutcome]] = defaultdict(list)
    for each in episodes:
        plays[each.dialogue_id].append(each)
        for name, above, below in _quantities(manifest, each):
            if below is None:
                sums.add(each.dialogue_id, name, above)
            else:
                sums.add_ratio(each.dialogue_id, name, above or 0.0, below)
    ks = range(1, manifest.trials + 1) if manifest.is_simulated else ()
    for k in ks:
        for dialogue_id, played in plays.items():
            for name in ("strict", "success"):
                right = sum(bool(getattr(each, name)) for each in played)
                value = pass_all(len(played), right, k) if len(played) >= k else None
                sums.add(dialogue_id, f"pass/{name}/{k}", value)
    bootstrap = Bootstrap(sums, resamples=RESAMPLES, seed=0)
    spent = [each.spending for each in episodes if each.spending is not None]
    return Figures(
        estimates={
            name: bootstrap.estimate(name)
            for name in sums.quantities()
            if not name.startswith("pass/")
        },
        pass_all=tuple(
            PassAll(k, *(bootstrap.estimate(f"pass/{name}/{k}") for name in ("strict", "success")))
            for k in ks
        ),
        failed=sum(each.error is not None for each in episodes),
        spending=sum(spent, Spending()) if spent else None,
    )


def _quantities(
    manifest: Manifest, episode: EpisodeOutcome
) -> Iterator[tuple[str, float | None, float | None]]:
    """Yield the name of each quantity, and a value, or the two parts of a ratio."""
    if manifest.is_simulated:
        head = float(bool(episode.strict))
        yield "strict", head, None
        yield "success", float(bool(episode.success)), None
        yield "milestones", episode.milestones or 0.0, None
        yield "turns", float(episode.turns), None
        below = None
    else:
        known = [each for each in episode.rewards if each is not None]
        unknown = len(episode.rewards) - len(known)
        head, below = math.fsum(known), float(episode.turns - unknown)
        yield "reward", head, below
        yield "exact_calls", float(episode.exact), float(episode.due)
    yield "return", episode.earned, None
    yield "calls", float(episode.calls), None
    if episode.group in ("seen", "unseen"):
        yield episode.group, head, below
