"""Playing a benchmark: its episodes go into a journal, and their outcomes into one file."""

from __future__ import annotations

import hashlib
import inspect
import platform
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import agent_gym_env
from agent_gym_env.assembly import Env, PolicyConfig, collect, plan_collection
from agent_gym_env.benchmark.manifest import Manifest, open_benchmark, read_manifest, world
from agent_gym_env.benchmark.result import (
    EpisodeOutcome,
    PlayedPolicy,
    Result,
    figures_of,
    outcome_of,
    write_result,
)
from agent_gym_env.corpus.corpus import CorpusConfig
from agent_gym_env.envs.sgd_sim import unwrap_any
from agent_gym_env.errors import DataError
from agent_gym_env.lm.credentials import Scrubber
from agent_gym_env.registry import POLICIES
from agent_gym_env.rollout.collect import Progress
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.jobs import Collection, Job
from agent_gym_env.rollout.journal.format import FAILED, shard_paths
from agent_gym_env.rollout.journal.reading import read_played
from agent_gym_env.rollout.runners import Runner
from agent_gym_env.storage.files import open_file

JOURNAL = "journal"
"""Folder of the journal in the folder of a run."""

RESULT = "result.json"
"""File of the result in the folder of a run."""

_PACKAGES = {
    "gymnasium": "gymnasium",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "torch": "torch",
    "transformers": "transformers",
    "stable-baselines3": "stable_baselines3",
    "sb3-contrib": "sb3_contrib",
    "dspy": "dspy",
    "litellm": "litellm",
    "aiohttp": "aiohttp",
    "google-genai": "google.genai",
}
"""Distributions whose versions a result tells, if their module was imported."""

_FILES = ("path", "file", "program", "checkpoint")
"""Options of policies that name a file or a folder."""


def run_benchmark(
    manifest: str | Path | Manifest,
    policy: PolicyConfig,
    out: str | Path,
    *,
    corpus: CorpusConfig | None = None,
    label: str | None = None,
    note: str = "",
    runner: str | Mapping[str, Any] | Runner = "serial",
    workers: int = 2,
    retry_failed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Play a benchmark, and write its result; the same call resumes what was interrupted.

    Args:
        manifest: name of a manifest of the package, path of a file, or a manifest.
        policy: name, or mapping with a name and options.
        out: folder for the journal of the episodes and for ``result.json``.
        corpus: place of the corpus on this machine; by default the manifest's name is looked up.
        label: name of the policy in tables; by default its own.
        note: text about the policy for tables.
        runner: as in `agent_gym_env.collect`.
        workers: as in `agent_gym_env.collect`.
        retry_failed: whether episodes that have failed are played again.
        on_progress: called after each episode.

    Raises:
        DataError: the manifest is not one, or the corpus is missing or another one.
        ValueError: an argument is not among its values.
        ResumeMismatchError: the folder was begun with another policy or manifest.
        StorageError: the disk does not take it, or a file there is damaged.
        BudgetExceeded: the run has spent its budget; what was played is kept.
        CircuitOpenError: the provider refuses the key or is down; what was played is kept.
    """
    manifest, folder = read_manifest(manifest), Path(out)
    env, ids = open_benchmark(manifest, corpus)
    plan = jobs_of(manifest, ids) | world(manifest, corpus)
    collect(
        policy,
        folder / JOURNAL,
        runner=runner,
        workers=workers,
        retry_failed=retry_failed,
        on_progress=on_progress,
        **plan,
    )
    (config,) = plan_collection(policy, **plan).as_json()["policies"]
    played = read_played(folder / JOURNAL)
    if not played:
        raise DataError("no episode was played: every job failed", file=str(folder / JOURNAL))
    episodes = outcomes(manifest, env, ids, played)
    result = Result(
        label=label or played[0].policy,
        note=note,
        manifest=manifest,
        manifest_hash=manifest.hash,
        policy=_played_policy(config, played),
        journal_hash=journal_hash(folder / JOURNAL),
        episodes=episodes,
        figures=figures_of(manifest, episodes),
    ).with_hash()
    write_result(result, folder / RESULT)
    return result


def jobs_of(manifest: Manifest, ids: Sequence[str]) -> dict[str, Any]:
    """Return the arguments of `collect` that say which episodes are played."""
    return {
        "dialogue_ids": tuple(ids),
        "seed": manifest.seed,
        "best_of": manifest.trials,
        "keep_all": manifest.trials > 1,
    }


def planned_jobs(manifest: Manifest, ids: Sequence[str]) -> Iterator[Job]:
    """Yield the jobs of a benchmark in order: their dialogues and seeds follow from it."""
    collection = Collection(
        policies=({"name": ""},), world={}, corpus="", jobs=len(ids) * manifest.trials,
        seed=manifest.seed, best_of=manifest.trials, keep_all=manifest.trials > 1,
    )  # fmt: skip
    return (collection.job(number, ids) for number in range(collection.jobs))


def outcomes(
    manifest: Manifest, env: Env, ids: Sequence[str], played: Sequence[Episode]
) -> tuple[EpisodeOutcome, ...]:
    """Return the outcome of each job; one without an episode counts as a failure.

    Args:
        manifest: the benchmark.
        env: its environment.
        ids: ids of its dialogues.
        played: episodes of the journal.
    """
    split = unwrap_any(env).split
    found = {(each.dialogue_id, each.seed): each for each in played}
    rows = []
    for job in planned_jobs(manifest, ids):
        (seed,) = job.seeds
        task = split.task(split.index(job.dialogue_id))
        episode = found.get((job.dialogue_id, seed))
        if episode is not None:
            rows.append(outcome_of(episode, task))
            continue
        is_simulated = manifest.is_simulated
        rows.append(
            EpisodeOutcome(
                job.dialogue_id,
                seed,
                turns=0 if is_simulated else len(task.turns),
                success=False if is_simulated else None,
                strict=False if is_simulated else None,
                milestones=0.0 if is_simulated else None,
                due=0 if is_simulated else sum(len(turn.calls) for turn in task.turns),
                error="NoEpisode",
            )
        )
    return tuple(rows)


def journal_hash(folder: Path) -> str:
    """Return the SHA-256 of a journal: of its shards and of the file of failed jobs, in order.

    Raises:
        DataError: a file cannot be read.
        StorageError: a shard is missing.
    """
    digest = hashlib.sha256()
    failed = folder / FAILED
    for path in [*shard_paths(folder, "episodes"), *([failed] if failed.exists() else [])]:
        digest.update(f"{path.name}\n".encode())
        _add_content(digest, path)
    return digest.hexdigest()


def _played_policy(config: Mapping[str, Any], played: Sequence[Episode]) -> PlayedPolicy:
    return PlayedPolicy(
        name=played[0].policy,
        configuration=_scrubbed(config, Scrubber()),
        models=models_of(played),
        files={
            option: content_hash(Path(value))
            for option, value in config.items()
            if option in _FILES and isinstance(value, str) and Path(value).exists()
        },
        code=_code(config["name"]),
        versions=_versions(),
    )


def models_of(played: Sequence[Episode]) -> tuple[str, ...]:
    """Return the names of the language models that answered in episodes."""
    steps = (step for episode in played for turn in episode.turns for step in turn.steps)
    answered = (step.action.completion for step in steps)
    return tuple(sorted({each.model for each in answered if each and each.model}))


def _scrubbed(value: Any, scrubber: Scrubber) -> Any:
    """Return a configuration in which no text looks like a secret."""
    if isinstance(value, Mapping):
        return {name: _scrubbed(item, scrubber) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, scrubber) for item in value]
    return scrubber.all(value) if isinstance(value, str) else value


def content_hash(path: Path, pattern: str = "*") -> str:
    """Return the SHA-256 of a file, or of the names and contents of the files in a folder.

    Args:
        path: path of the file or folder.
        pattern: pattern of the names of the files in a folder.
    """
    digest = hashlib.sha256()
    inside = sorted(each for each in path.rglob(pattern) if each.is_file())
    for file in inside if path.is_dir() else [path]:
        if path.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\n".encode())
        _add_content(digest, file)
    return digest.hexdigest()


def _add_content(digest: hashlib._Hash, path: Path) -> None:
    with open_file(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)


def _code(policy: str) -> dict[str, str]:
    package = Path(inspect.getfile(agent_gym_env)).parent
    found = {"agent_gym_env": content_hash(package, "*.py")}
    if policy not in POLICIES.builtin:
        module = inspect.getmodule(POLICIES.find(policy))
        if module is not None and getattr(module, "__file__", None):
            found[module.__name__] = content_hash(Path(str(module.__file__)))
    return found


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "agent-gym-env": agent_gym_env.__version__}
    for distribution, module in _PACKAGES.items():
        if module in sys.modules:
            try:
                found[distribution] = metadata.version(distribution)
            except metadata.PackageNotFoundError:
                found[distribution] = _own_version(sys.modules[module])
    return found


def _own_version(module: object) -> str:
    return re.sub(r"[^\w.+-]", "", str(getattr(module, "__version__", "")))[:200] or "unknown"
