"""Kinds of content that can be published: episodes, models, policies and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.policies.sb3_file import read_header
from agent_gym_env.rollout.journal.format import MANIFEST, read_manifest

ContentKind = Literal["episodes", "model", "policy", "program"]

PLAIN = (".json", ".jsonl", ".parquet", ".npz", ".safetensors", ".md", ".txt", ".jinja", ".svg")
"""Ends of the names of files that hold data only. Others may run code when they are loaded."""

_MODEL_FILES = (".json", ".safetensors", ".txt", ".jinja", ".md")
_EPISODES, _TABLE, _POLICY, _PROGRAM = (
    "episodes.jsonl",
    "episodes.parquet",
    "policy.npz",
    "program.json",
)
_OF_A_RUN = (
    "config.json",
    "curve.jsonl",
    "curve.svg",
    "initial.npz",
    "cloned.npz",
    "checkpoint.npz",
)
"""Files of a PPO run that say how its policy was made, and from which it goes on."""


class Contents(msgspec.Struct, frozen=True):
    """Files that are published together.

    Attributes:
        kind: what they are.
        files: path of each file, by its name in the repository.
        path: path by which the package reads them: a file, or a folder.
        policy: name of the policy that plays a trained policy, such as ``sb3``; ``None`` for
            episodes.
    """

    kind: ContentKind
    files: dict[str, Path]
    path: Path
    policy: str | None = None


def contents_of(path: Path) -> Contents:
    """Find out what a file or folder holds.

    Args:
        path: folder of a journal, file of episodes, folder of a model in Hugging Face's layout,
            folder of a training run, saved policy (``.npz``), or saved DSPy program (``.json``).

    Raises:
        DataError: it holds none of these.
        StorageError: the manifest of a journal is damaged.
    """
    if path.is_dir():
        return _of_folder(path)
    if not path.is_file():
        raise DataError("expected a file or folder, found nothing", file=str(path))
    if path.suffix == ".jsonl":
        return Contents("episodes", {_EPISODES: path}, path)
    if path.suffix == ".parquet":
        return Contents("episodes", {_TABLE: path}, path)
    if path.suffix == ".npz":
        return _policy({_POLICY: path}, path)
    if path.suffix == ".json":
        return Contents("program", {_PROGRAM: path}, path, "dspy")
    raise DataError(
        "expected episodes (.jsonl, .parquet), a saved policy (.npz), a saved program (.json), or "
        "the folder of a journal, a model or a training run",
        file=str(path),
    )


def _of_folder(folder: Path) -> Contents:
    if (folder / MANIFEST).is_file():
        return _journal(folder)
    if (folder / "model" / "config.json").is_file():  # a run of a trainer of language models
        return _of_folder(folder / "model")
    for name in (_EPISODES, _TABLE):
        if (folder / name).is_file():
            return contents_of(folder / name)
    if (folder / _POLICY).is_file():
        more = {name: folder / name for name in _OF_A_RUN if (folder / name).is_file()}
        return _policy({_POLICY: folder / _POLICY, **more}, folder / _POLICY)
    if any(folder.glob("*.safetensors")) and (folder / "config.json").is_file():
        names = sorted(each.name for each in folder.iterdir() if each.suffix in _MODEL_FILES)
        return Contents("model", {name: folder / name for name in names}, folder, "transformers")
    if (folder / _PROGRAM).is_file():
        return contents_of(folder / _PROGRAM)
    raise DataError(
        f"expected a journal ({MANIFEST}), a model (config.json and .safetensors), a training run "
        f"({_POLICY} or model/), or {_EPISODES}",
        file=str(folder),
    )


def _journal(folder: Path) -> Contents:
    manifest = read_manifest(folder)
    if manifest is None or manifest.kind != "episodes":
        raise DataError(
            "expected episodes, found branch points: export them, and publish the rows elsewhere",
            file=str(folder),
        )
    names = [MANIFEST, *(shard.name for shard in manifest.shards)]
    return Contents("episodes", {name: folder / name for name in names}, folder)


def _policy(files: dict[str, Path], path: Path) -> Contents:
    try:
        read_header(path)
    except DataError:
        return Contents("policy", files, path, "acts")
    return Contents("policy", files, path, "sb3")
