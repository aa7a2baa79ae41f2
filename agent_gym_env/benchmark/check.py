"""Checking the result of a benchmark without its policy: hashes, figures, and every reward again.

The recorded actions are played again in the environment, which scores them and judges the user's
task. What a result or a journal names is not imported or asked, unless it is this package's or the
caller has named the same manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.assembly import Env
from agent_gym_env.benchmark.manifest import Manifest, open_benchmark, read_manifest, world
from agent_gym_env.benchmark.replay import differences, replay_problems
from agent_gym_env.benchmark.result import Result, figures_of, outcome_of, read_result
from agent_gym_env.benchmark.run import jobs_of, journal_hash, models_of, planned_jobs
from agent_gym_env.corpus.corpus import CorpusConfig, Split
from agent_gym_env.envs.sgd_sim import unwrap_any
from agent_gym_env.errors import AgentGymError, DataError, StorageError
from agent_gym_env.evaluation.metrics import is_ended
from agent_gym_env.evaluation.rescore import rescore
from agent_gym_env.lm.credentials import REDACTED
from agent_gym_env.registry import DEFAULT_REWARDS, REWARDS, TOOL_BACKENDS, USERS, Registry
from agent_gym_env.rewards.task import TASK_REWARD_NAMES
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal import format as journal_format
from agent_gym_env.rollout.journal.reading import read_played
from agent_gym_env.rollout.journal.recovery import check_journal

CANNOT_PROVE = (
    "that the policy named in the file took these actions: a journal tells what was done, not by "
    "whom",
    "that no other plays were thrown away before these",
    "that the policy was not made with knowledge of the dialogues",
    "tokens, costs, versions and names of language models, which are as the run recorded them",
)
"""Claims of a result that no check can prove."""

_MOST_PROBLEMS = 50
"""Largest number of problems that are listed."""

_OWN_PARTS = {
    "reward": ("ground_truth", "balanced", *TASK_REWARD_NAMES),
    "user": ("agenda",),
    "tool_backend": ("replay", "nearest"),
}
"""Parts of a benchmark that are this package's, ask no language model and read no other file."""

_KINDS: dict[str, Registry] = {"reward": REWARDS, "user": USERS, "tool_backend": TOOL_BACKENDS}
_UNREADABLE = (AgentGymError, ValueError, TypeError, RecursionError)
"""Errors of records that nobody has played."""

_LIVE = ("mcp",)
"""Tools that act on the world, and so are not called again."""


class Check(msgspec.Struct, frozen=True):
    """Result of a check.

    Attributes:
        label: label of the result.
        problems: what does not match, each with its place; empty if everything does.
        checked: what was compared.
        not_checked: what could be checked and was not, with the reason.
        cannot_prove: what no check can prove.
    """

    label: str
    problems: tuple[str, ...]
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    cannot_prove: tuple[str, ...] = CANNOT_PROVE

    @property
    def is_right(self) -> bool:
        """True if everything that was compared matches."""
        return not self.problems


def check_result(
    result: str | Path | Result,
    *,
    journal: str | Path | None = None,
    corpus: CorpusConfig | None = None,
    manifest: str | Path | Manifest | None = None,
) -> Check:
    """Check a result without playing its policy.

    Args:
        result: path of the file, or the result.
        journal: folder of the episodes. Without it hashes, ids, seeds and figures are checked.
        corpus: place of the corpus on this machine; by default the manifest's name is looked up.
        manifest: your own copy of the benchmark, with which that of the result is compared. Code
            that it names, such as a reward of your own, is run.

    Raises:
        DataError: a file is missing or is not what it should be, or the corpus is another one.
        ValueError: ``manifest`` is neither a name nor a file.
    """
    if not isinstance(result, Result):
        result = read_result(result)
    own = None if manifest is None else read_manifest(manifest)
    run = _Run(result, is_trusted=own is not None and own.hash == result.manifest.hash)
    run.compare_hashes(own)
    if run.compare_rows():
        run.compare_figures()
    if journal is None:
        run.not_checked.append("the episodes and their rewards: no journal was given (--journal)")
    else:
        run.compare_journal(Path(journal), corpus)
    return run.done()


def file_problems(result: Result) -> list[str]:
    """Return what does not match inside a result: hashes, ids, seeds and figures."""
    run = _Run(result, is_trusted=False)
    run.compare_hashes(None)
    if run.compare_rows():
        run.compare_figures()
    return list(run.done().problems)


class _Run:
    """One check, which collects what it finds."""

    def __init__(self, result: Result, *, is_trusted: bool) -> None:
        self._result, self._manifest = result, result.manifest
        self._is_trusted = is_trusted
        self._problems: list[str] = []
        self._left = 0
        self.checked: list[str] = []
        self.not_checked: list[str] = []

    def _note(self, problem: str) -> None:
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(problem)
        else:
            self._left += 1

    def done(self) -> Check:
        """Return what was found."""
        more = [f"and {self._left} more"] if self._left else []
        return Check(
            self._result.label,
            tuple(self._problems + more),
            tuple(self.checked),
            tuple(self.not_checked),
        )

    def compare_hashes(self, own: Manifest | None) -> None:
        """Compare the hashes of the file and the manifest, and the manifest with the caller's."""
        result = self._result
        if result.hash != result.with_hash().hash:
            self._note("file: its hash does not match its content")
        if result.manifest_hash != self._manifest.hash:
            self._note("manifest: its hash does not match its content")
        self.checked.append("hashes of the file and of the manifest")
        if own is None:
            self.not_checked.append(
                "whether the manifest is that of the benchmark you mean (--manifest)"
            )
        elif own.hash != self._manifest.hash:
            names = [
                name
                for name in Manifest.__struct_fields__
                if getattr(own, name) != getattr(self._manifest, name)
            ]
            self._note(f"manifest: another benchmark than yours; they differ in {', '.join(names)}")

    def compare_rows(self) -> bool:
        """Compare the ids and seeds of the episodes with those that follow from the manifest."""
        manifest, rows = self._manifest, self._result.episodes
        expected = manifest.dialogue_count * manifest.trials
        if len(rows) != expected:
            self._note(f"episodes: {len(rows)}, expected {expected}")
            return False
        ids = [row.dialogue_id for row in rows[:: manifest.trials]]
        try:
            manifest.check_ids(ids)
        except ValueError:
            self._note("episodes: their dialogues, or the order of these, are not the manifest's")
            return False
        before = len(self._problems)
        for number, (row, job) in enumerate(zip(rows, planned_jobs(manifest, ids), strict=True)):
            if (row.dialogue_id, row.seed) != (job.dialogue_id, job.seeds[0]):
                self._note(
                    f"episodes[{number}]: dialogue {row.dialogue_id!r} with seed {row.seed}, "
                    f"expected {job.dialogue_id!r} with seed {job.seeds[0]}"
                )
            simulated = (row.success, row.strict, row.milestones)
            if any((each is None) == manifest.is_simulated for each in simulated):
                self._note(f"episodes[{number}]: not an outcome of {manifest.env}")
        self.checked.append(f"dialogues and seeds of {len(rows)} episodes")
        return len(self._problems) == before

    def compare_figures(self) -> None:
        """Compute the figures again."""
        found, expected = self._result.figures, figures_of(self._manifest, self._result.episodes)
        for place in differences(_plain(found), _plain(expected)):
            self._note(f"figures{place}")
        self.checked.append("figures and their intervals, computed again")

    def compare_journal(self, folder: Path, corpus: CorpusConfig | None) -> None:
        """Compare the journal with the result, and score its episodes again.

        Raises:
            DataError: the folder is not a journal, or ``corpus`` is another one.
        """
        try:
            check_journal(folder)
            played = read_played(folder)
            found = journal_hash(folder)
        except StorageError as error:
            self._note(f"journal: {error}")
            return
        if found != self._result.journal_hash:
            self._note("journal: its hash is not the one in the file")
        self.checked.append("hash and checksums of the journal")
        self._compare_configuration(folder)
        for place in differences(self._result.policy.models, models_of(played)):
            self._note(f"policy.models{place}")
        foreign = dict(foreign_parts(self._manifest, is_trusted=self._is_trusted))
        env = self._open(foreign, corpus)
        self._compare_outcomes(played, None if env is None else unwrap_any(env).split)
        if env is not None:
            self._score_again(env, played, foreign)

    def _compare_configuration(self, folder: Path) -> None:
        """Compare the configuration of the journal with the manifest and the policy."""
        manifest = self._manifest
        journal = journal_format.read_manifest(folder)
        config = {} if journal is None else journal.config
        ids = [row.dialogue_id for row in self._result.episodes[:: manifest.trials]]
        expected = {
            **_plain(jobs_of(manifest, ids)),
            "jobs": len(ids) * manifest.trials,
            "corpus": manifest.fingerprint,
            "world": _plain(world(manifest, "somewhere")),
        }
        expected["world"].pop("corpus")
        found = {name: config.get(name) for name in expected}
        if isinstance(found["world"], dict):
            found["world"] = {k: v for k, v in found["world"].items() if k != "corpus"}
        for place in differences(found, expected):
            self._note(f"journal{place}")
        policies = config.get("policies")
        for place in differences([self._result.policy.configuration], policies):
            if REDACTED not in place:
                self._note(f"policy.configuration{place.removeprefix('[0]')} in the journal")
        self.checked.append("configuration of the journal")

    def _open(self, foreign: Mapping[str, str], corpus: CorpusConfig | None) -> Env | None:
        """Open the environment without its foreign parts, if the corpus is there.

        Raises:
            DataError: ``corpus`` is another one than the benchmark's.
            ValueError: an option of the manifest has a wrong value.
        """
        options = {k: v for k, v in self._manifest.options.items() if k not in foreign}
        plain = msgspec.structs.replace(self._manifest, options=options)
        if "reward" in foreign:
            reward = {"name": DEFAULT_REWARDS[self._manifest.env]}
            plain = msgspec.structs.replace(plain, reward=reward)
        try:
            return open_benchmark(plain, corpus)[0]
        except (DataError, ValueError) as error:
            if corpus is not None:
                raise
            self.not_checked.append(f"the rewards of the episodes: {error}")
            return None

    def _compare_outcomes(self, played: Sequence[Episode], split: Split | None) -> None:
        """Compare the outcome of each recorded episode with its row.

        Args:
            played: episodes of the journal.
            split: split of the corpus; ``None`` if it is not there.
        """
        rows = {
            (row.dialogue_id, row.seed): (number, row)
            for number, row in enumerate(self._result.episodes)
        }
        for episode in played:
            key = (episode.dialogue_id, episode.seed or 0)
            if key not in rows:
                self._note(
                    f"journal: dialogue {key[0]!r} with seed {key[1]} is not among the episodes"
                )
                continue
            number, row = rows.pop(key)
            if episode.policy != self._result.policy.name:
                self._note(f"episodes[{number}]: played by {episode.policy!r:.80}")
            if split is None and not is_ended(episode):
                continue
            try:
                task = None if split is None else split.task(split.index(episode.dialogue_id))
                found = _plain(outcome_of(episode, task))
            except _UNREADABLE as error:
                self._note(f"episodes[{number}]: its record cannot be read: {error}")
                continue
            for place in differences(_plain(row), found):
                self._note(f"episodes[{number}]{place}")
        for number, row in rows.values():
            if row.error != "NoEpisode" or row.rewards or row.strict or row.success:
                self._note(f"episodes[{number}]: the journal has no such episode")
        self.checked.append(f"outcomes of {len(played)} recorded episodes")

    def _score_again(self, env: Env, played: Sequence[Episode], foreign: Mapping[str, str]) -> None:
        """Play the recorded actions again, or score them again where that is not possible."""
        for part, reason in foreign.items():
            what = "the rewards" if part == "reward" else "what the agent was answered"
            self.not_checked.append(f"{what}: {reason}")
        if "reward" in foreign:
            return
        for episode in played:
            try:
                found = list(_scored_again(env, episode, replayed=not foreign))
            except _UNREADABLE as error:
                found = [f": cannot be played again: {error}"]
            for problem in found:
                self._note(f"dialogue {episode.dialogue_id!r}, seed {episode.seed}{problem}")
        how = "scored again" if foreign else "played again and scored again"
        self.checked.append(f"{len(played)} episodes, {how}")


def _scored_again(env: Env, episode: Episode, *, replayed: bool) -> Iterator[str]:
    """Yield what differs in an episode that is played again, or scored again only."""
    if not episode.turns:  # the user's language model did not say the first words
        return
    if replayed:
        yield from replay_problems(env, episode)
        return
    scored = rescore(episode, unwrap_any(env).settings.reward)
    found, expected = ([turn.reward for turn in each.turns] for each in (episode, scored))
    yield from differences(found, expected, ".rewards")


def foreign_parts(manifest: Manifest, *, is_trusted: bool) -> Iterator[tuple[str, str]]:
    """Yield the parts of a benchmark that a check does not run, each with the reason.

    Args:
        manifest: the benchmark.
        is_trusted: whether the caller has named the same manifest, so that its code is run.
    """
    parts = {**manifest.options, "reward": manifest.reward}
    for part, own in _OWN_PARTS.items():
        config = parts.get(part)
        name = config.get("name", own[0]) if isinstance(config, dict) else config
        if config is None or name in own:
            continue
        if not is_trusted:
            reason = (
                f"the {part} {name!r:.80} is code or a language model that the manifest names; if "
                "you trust it, name your own copy of the manifest (--manifest)"
            )
            yield part, reason
        elif name in _LIVE or _KINDS[part].takes(name, "model"):
            yield part, f"the {part} {name!r} asks a language model or a live server"


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
