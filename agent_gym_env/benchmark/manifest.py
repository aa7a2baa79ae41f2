"""The manifest of a benchmark: everything that determines what is played and how it is scored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

import agent_gym_env
from agent_gym_env.assembly import Env, choose_dialogues, make_env
from agent_gym_env.corpus.corpus import CorpusConfig
from agent_gym_env.envs.sgd_sim import unwrap_any
from agent_gym_env.errors import DataError
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.registry import DEFAULT_REWARDS, REPLAYED
from agent_gym_env.rollout.journal.format import fingerprint
from agent_gym_env.storage.files import read_file, written_whole
from agent_gym_env.suggestions import explained, refuse_unknown, unknown_name

MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 32 * 2**20
MAX_TRIALS = 64
"""Largest number of plays of a dialogue."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=4000)]
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]

_OPTIONS = {
    **dict.fromkeys(
        REPLAYED, ("tools_offered", "max_tool_calls_per_turn", "tool_backend", "system_prompt")
    ),
    "SGDSim-v0": ("understanding", "user", "noise", "patience", "max_tool_calls_per_turn"),
}
"""Options of each environment that a manifest may set."""

_FOUND_BY_NAME = ("sample", "sgd")
"""Corpora that a manifest finds by their name; the place of any other is told by who plays it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benchmark.

    Attributes:
        name: name of the benchmark in tables.
        description: text about it.
        env: ``SGD-v0``, ``SGDSim-v0`` or ``Traces-v0``.
        corpus: ``sample`` or ``sgd``, or the name of any other corpus for people.
        split: split of the corpus.
        fingerprint: SHA-256 of the content of the split, equal on every machine.
        train_fingerprint: SHA-256 of the content of the train split, from which the simulated user
            learns to read and some rewards count words; ``None`` for a corpus without one.
        schema_variant: variant of SGD-X; ``None`` for the original schema.
        dialogues: ids of the dialogues in the order of play; ``"all"`` for all that can be played.
        dialogue_count: number of dialogues.
        dialogues_hash: SHA-256 of the JSON list of their ids.
        trials: number of plays of each dialogue, each with another seed.
        seed: seed from which those of the episodes are derived.
        reward: reward with its name and options.
        options: further options of the environment: those of the user, the noise, the tools.
        max_episode_steps: number of steps after which an episode ends; ``None`` for no limit.
        version: version of this package that the manifest was made with.
        format: version of this format.
    """

    name: Name
    env: Literal["SGD-v0", "SGDSim-v0", "Traces-v0"]
    corpus: Name
    split: Name
    fingerprint: Hash
    train_fingerprint: Hash | None = None
    schema_variant: Name | None = None
    dialogues: Literal["all"] | tuple[Name, ...]
    dialogue_count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    dialogues_hash: Hash
    trials: Annotated[int, msgspec.Meta(ge=1, le=MAX_TRIALS)] = 1
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    reward: dict[str, Any]
    options: dict[str, Any] = {}
    max_episode_steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    description: Text = ""
    version: Text = ""
    format: int = MANIFEST_FORMAT

    def __post_init__(self) -> None:
        """Check what the types do not say; decoders call this, too.

        Raises:
            ValueError: an option is unknown or nests too deeply, the reward has no name, or the ids
                do not match their number or hash.
        """
        if self.format != MANIFEST_FORMAT:
            raise ValueError(f"the format is {self.format}; this version reads {MANIFEST_FORMAT}")
        refuse_unknown(f"a benchmark in {self.env}", self.options, _OPTIONS[self.env])
        refuse_deep(self.reward, self.options)
        if not isinstance(self.reward.get("name"), str):
            raise ValueError('reward must be an object with a "name", which is a string')
        if not isinstance(self.dialogues, str):
            self.check_ids(self.dialogues)

    def check_ids(self, ids: Sequence[str]) -> None:
        """Check that these are the dialogues of the benchmark.

        Raises:
            ValueError: one of them differs, or their order.
        """
        if len(ids) != self.dialogue_count or hash_of_ids(ids) != self.dialogues_hash:
            raise ValueError(
                f"the {len(ids)} dialogue ids are not the {self.dialogue_count} that "
                f"dialogues_hash {self.dialogues_hash[:12]} is of"
            )

    @property
    def is_simulated(self) -> bool:
        """True if the user is simulated."""
        return self.env == "SGDSim-v0"

    @property
    def headline(self) -> str:
        """Name of the figure by which policies are ranked."""
        return "strict" if self.is_simulated else "reward"

    @property
    def hash(self) -> str:
        """SHA-256 of all fields; equal hashes mean equal benchmarks."""
        return fingerprint(msgspec.to_builtins(self))


def refuse_deep(*values: dict[str, Any]) -> None:
    """Refuse JSON objects that nest so deeply that to walk them could end the process.

    Raises:
        ValueError: one of them does.
    """
    if nests_deeper([*values], MAX_DEPTH):
        raise ValueError(f"an object nests more than {MAX_DEPTH} levels")


def hash_of_ids(ids: Sequence[str]) -> str:
    """Return the SHA-256 of a list of dialogue ids, written as JSON."""
    return hashlib.sha256(msgspec.json.encode(list(ids))).hexdigest()


def manifest_names() -> list[str]:
    """Return the names of the manifests that come with the package."""
    found = (each.name for each in files("agent_gym_env.benchmark").joinpath("manifests").iterdir())
    return sorted(name.removesuffix(".json") for name in found if name.endswith(".json"))


def read_manifest(manifest: str | Path | Manifest) -> Manifest:
    """Read a manifest.

    Args:
        manifest: name of one that comes with the package (see `manifest_names`), path of a file
            that ends in ``.json`` or ``.toml``, or a manifest, which is returned as it is.

    Raises:
        DataError: the file is missing or is not a manifest.
        ValueError: there is neither a manifest nor a file of this name.
    """
    if isinstance(manifest, Manifest):
        return manifest
    path = Path(manifest)
    if path.suffix not in (".json", ".toml"):
        names = manifest_names()
        if str(manifest) not in names:
            raise ValueError(
                f"{unknown_name('the manifest', str(manifest), names)}; one of your own is a file "
                "that ends in .json or .toml"
            )
        shipped = files("agent_gym_env.benchmark").joinpath(f"manifests/{manifest}.json")
        return _decoded(shipped.read_bytes(), path)
    return _decoded(read_file(path, largest=MAX_MANIFEST_BYTES), path)


def _decoded(content: bytes, path: Path) -> Manifest:
    decode = msgspec.toml.decode if path.suffix == ".toml" else msgspec.json.decode
    try:
        return decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        problem = explained_with_place(error, Manifest)
        raise DataError(f"not a manifest: {problem}", file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"not a manifest: {error}", file=str(path)) from error


def explained_with_place(error: msgspec.ValidationError, shape: type) -> str:
    """Explain a decoder's error, with its place in front."""
    problem, place = explained(error, shape)
    return f"{place.lstrip('.')}: {problem}" if place else problem


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write a manifest as JSON.

    Raises:
        ValueError: the file does not end in ``.json``, so `read_manifest` would refuse it.
        StorageError: the disk does not take it.
    """
    if Path(path).suffix != ".json":
        raise ValueError(f"expected a file that ends in .json, not {str(path)!r}")
    with written_whole(Path(path)) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def new_manifest(
    name: str,
    *,
    env: str = "SGD-v0",
    corpus: CorpusConfig = "sample",
    corpus_name: str | None = None,
    split: str = "test",
    schema_variant: str | None = None,
    services: Sequence[str] | None = None,
    seen: str = "all",
    episodes: int | None = None,
    seed: int = 0,
    trials: int = 1,
    reward: str | Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    description: str = "",
    **options: Any,
) -> Manifest:
    """Make the manifest of a new benchmark.

    Args:
        name: name of the benchmark.
        env: environment, as in `make_env`.
        corpus: corpus, as in `make_env`.
        corpus_name: name of the corpus in the manifest; by default that of ``corpus``.
        split: split of the corpus.
        schema_variant: as in `make_env`.
        services: dialogues all of whose services are among these; all by default.
        seen: as in `make_env`.
        episodes: number of dialogues, which ``seed`` draws; all by default.
        seed: seed of the draw and of the episodes.
        trials: number of plays of each dialogue.
        reward: name, or mapping with a name and options; ``balanced`` or ``task`` by default.
        max_episode_steps: as in `make_env`.
        description: text about the benchmark.
        **options: further options of the environment, see `Manifest.options`.

    Raises:
        ValueError: an argument is unknown or not among its values.
        DataError: the corpus does not exist.
    """
    if env not in _OPTIONS:
        raise ValueError(unknown_name("env", env, _OPTIONS))
    refuse_unknown(f"a benchmark in {env}", options, _OPTIONS[env])
    reward = DEFAULT_REWARDS[env] if reward is None else reward
    config = {"name": reward} if isinstance(reward, str) else dict(reward)
    chosen = {"services": services, "seen": seen}
    opened = make_env(
        env=env, corpus=corpus, split=split, schema_variant=schema_variant, reward=config,
        max_episode_steps=max_episode_steps, **chosen, **options,
    )  # fmt: skip
    ids = choose_dialogues(opened, episodes, seed)
    is_all = episodes is None and services is None and seen == "all"
    plain = {
        "name": name,
        "env": env,
        "corpus": _name_of(corpus) if corpus_name is None else corpus_name,
        "split": split,
        "schema_variant": schema_variant,
        "dialogues": "all" if is_all else ids,
        "dialogue_count": len(ids),
        "dialogues_hash": hash_of_ids(ids),
        "trials": trials,
        "seed": seed,
        "reward": without_credentials(config),
        "options": without_credentials(options),
        "max_episode_steps": max_episode_steps,
        "description": description,
        "version": agent_gym_env.__version__,
        **fingerprints(opened),
    }
    try:
        return msgspec.convert(plain, Manifest)
    except msgspec.ValidationError as error:
        raise ValueError(explained_with_place(error, Manifest)) from error


def _name_of(corpus: CorpusConfig) -> str:
    """Return the name of a corpus for people: without the folders of its path."""
    if isinstance(corpus, str | PathLike):
        return Path(corpus).name
    return str(corpus["name"] if isinstance(corpus, Mapping) else corpus.name)


def fingerprints(env: Env) -> dict[str, str | None]:
    """Return the fields of a manifest that say which corpus an environment plays."""
    bare = unwrap_any(env)
    has_train = "train" in bare.corpus.splits()
    return {
        "fingerprint": bare.split.fingerprint,
        "train_fingerprint": bare.corpus.split("train").fingerprint if has_train else None,
    }


def world(manifest: Manifest, corpus: CorpusConfig | None = None) -> dict[str, Any]:
    """Return the arguments of `make_env` that open the environment of a benchmark.

    Args:
        manifest: the benchmark.
        corpus: place of the corpus on this machine; by default the manifest's name is looked up.

    Raises:
        ValueError: the corpus has to be named.
    """
    if corpus is None and manifest.corpus not in _FOUND_BY_NAME:
        raise ValueError(
            f"the benchmark is played on the corpus {manifest.corpus!r}: say with --corpus where "
            "it is on this machine"
        )
    return {
        "env": manifest.env,
        "corpus": manifest.corpus if corpus is None else corpus,
        "split": manifest.split,
        "schema_variant": manifest.schema_variant,
        "reward": manifest.reward,
        "max_episode_steps": manifest.max_episode_steps,
        **manifest.options,
    }


def open_benchmark(
    manifest: Manifest, corpus: CorpusConfig | None = None
) -> tuple[Env, Sequence[str]]:
    """Open the environment of a benchmark, and return it with the ids of the dialogues.

    Args:
        manifest: the benchmark.
        corpus: as in `world`.

    Raises:
        DataError: the corpus is missing, or is another one than the manifest's.
        ValueError: the corpus has to be named, or an option has a wrong value.
    """
    env = make_env(**world(manifest, corpus))
    for field, found in fingerprints(env).items():
        expected = getattr(manifest, field)
        if found != expected:
            raise DataError(
                f"the corpus is not the benchmark's: its {field} is {found}, and {expected} in the "
                "manifest. Name the right corpus with --corpus",
                file=unwrap_any(env).corpus.name,
            )
    if not isinstance(manifest.dialogues, str):
        return env, manifest.dialogues
    ids = choose_dialogues(env)
    try:
        manifest.check_ids(ids)
    except ValueError as error:
        raise DataError(str(error), file=manifest.name) from error
    return env, ids
