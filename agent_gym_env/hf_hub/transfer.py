"""Publishes episodes and trained policies on the Hugging Face hub, and fetches them.

Only files that hold data are published and fetched. Nothing of a repository is unpickled or run.
The token is the library's own (``HF_TOKEN``, or ``hf auth login``), and is never shown.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec

from agent_gym_env.corpus.logs.redaction import RedactionCount, Redactor
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.evaluation.evaluate import Evaluation, summarize
from agent_gym_env.extras import require, tolerate_library_warnings
from agent_gym_env.hf_hub.card import make_card
from agent_gym_env.hf_hub.contents import PLAIN, ContentKind, Contents, contents_of
from agent_gym_env.lm.credentials import Scrubber, environment_secrets
from agent_gym_env.lm.fetch_model import check_sha256
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.storage.files import folder_written_whole

_log = logging.getLogger(__name__)

RepositoryKind = Literal["model", "dataset"]

_TIMEOUT_S = 30


class Pushed(msgspec.Struct, frozen=True):
    """A publication.

    Attributes:
        url: address of the repository.
        revision: commit.
        kind: what it is.
        files: number of files, the card included.
        private: whether only its owner can see it.
        personal: what looks like personal data in episodes, by kind.
    """

    url: str
    revision: str
    kind: ContentKind
    files: int
    private: bool
    personal: tuple[RedactionCount, ...] = ()


class Pulled(msgspec.Struct, frozen=True):
    """Content that was fetched.

    Attributes:
        path: path that the package reads: the folder, or the file in it.
        revision: commit.
        kind: what it is.
        policy: name of the policy that plays it; ``None`` for episodes.
        left_out: files that were not fetched, because they may run code when they are loaded.
    """

    path: str
    revision: str
    kind: ContentKind
    policy: str | None
    left_out: tuple[str, ...] = ()


def push_to_hub(
    path: str | Path,
    repo: str,
    *,
    public: bool = False,
    licence: str | None = None,
    allow_personal_data: bool = False,
    message: str | None = None,
) -> Pushed:
    """Publish episodes or a trained policy, with a card, in one commit.

    Args:
        path: folder of a journal, file of episodes, model, training run, saved policy or program;
            see `agent_gym_env.hf_hub.contents.contents_of`.
        repo: repository, ``owner/name``; it is made where there is none.
        public: whether everybody may see it; without it, a public repository is refused.
        licence: licence as the hub names it, such as ``cc-by-sa-4.0``; required if ``public``.
        allow_personal_data: publish episodes although something in them looks like personal data.
        message: message of the commit.

    Raises:
        ValueError: ``public`` without a licence, or personal data in what is to be public.
        DataError: the path holds nothing that can be published.
        AgentGymError: the hub refused, or cannot be reached.
        MissingDependency: huggingface_hub is not installed.
    """
    hub = _library()
    if public and licence is None:
        raise ValueError("a public repository needs the licence of its content, such as cc-by-4.0")
    contents = contents_of(Path(path))
    evaluations, personal = _looked_at(contents)
    if personal:
        _warn_or_refuse(personal, public=public and not allow_personal_data)
    card = make_card(contents, repo, licence=licence, evaluations=evaluations, found=personal)
    kind: RepositoryKind = "dataset" if contents.kind == "episodes" else "model"
    operations = [
        hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(file))
        for name, file in contents.files.items()
        if name != "README.md"
    ]
    operations.append(hub.CommitOperationAdd("README.md", card.encode()))
    api = hub.HfApi()
    with _hub_errors(hub, repo):
        url = api.create_repo(repo, repo_type=kind, private=not public, exist_ok=True)
        info = api.repo_info(repo, repo_type=kind, timeout=_TIMEOUT_S)
        if not public and not info.private:
            raise AgentGymError(
                f"{repo} is public. To publish there, say so (--public); otherwise name another "
                "repository"
            )
        commit = api.create_commit(
            repo, operations, commit_message=message or _MESSAGE[contents.kind], repo_type=kind
        )
    return Pushed(
        str(url), commit.oid, contents.kind, len(operations), bool(info.private), personal
    )


_MESSAGE = {
    "episodes": "Add episodes",
    "model": "Add a model",
    "policy": "Add a policy",
    "program": "Add a program",
}


def pull_from_hub(
    repo: str,
    out: str | Path,
    *,
    kind: RepositoryKind | None = None,
    revision: str | None = None,
) -> Pulled:
    """Fetch episodes or a trained policy into a new folder.

    Args:
        repo: repository, ``owner/name``.
        out: folder to make; it appears when it is complete.
        kind: kind of the repository; by default a model of this name, and otherwise a dataset.
        revision: commit, branch or tag; the newest by default.

    Raises:
        DataError: there is no such repository or revision, or it holds nothing that can be read.
        ChecksumError: a file differs from the hub's record of it.
        StorageError: the folder exists, or cannot be written.
        AgentGymError: the hub refused, or cannot be reached.
        MissingDependency: huggingface_hub is not installed.
    """
    hub = _library()
    kinds: tuple[RepositoryKind, ...] = ("model", "dataset") if kind is None else (kind,)
    with _hub_errors(hub, repo):
        found_kind, info = _repository(hub, repo, kinds, revision)
        wanted, left_out = _sorted_out(each.rfilename for each in info.siblings)
        stated = {each.rfilename: each.lfs for each in info.siblings}
        out = Path(out)
        with folder_written_whole(out) as unfinished:
            for name in wanted:
                hub.hf_hub_download(
                    repo, name, repo_type=found_kind, revision=info.sha, local_dir=unfinished
                )
                if stated[name] is not None:
                    check_sha256(unfinished / name, stated[name].sha256, f"{repo}/{name}")
            shutil.rmtree(unfinished / ".cache", ignore_errors=True)
            contents_of(unfinished)  # before the folder appears
    contents = contents_of(out)
    return Pulled(str(contents.path), info.sha, contents.kind, contents.policy, left_out)


def _looked_at(
    contents: Contents,
) -> tuple[tuple[Evaluation, ...], tuple[RedactionCount, ...]]:
    """Sum episodes up by policy and setting, and count what looks like personal data."""
    if contents.kind != "episodes":
        return (), ()
    redactor = Redactor()
    settings: dict[tuple[str | None, ...], None] = {}  # in order, each once
    for episode in _episodes(contents.path):
        redactor.value(msgspec.json.decode(msgspec.json.encode([episode.turns, episode.system])))
        settings[_setting(episode)] = None
    evaluations = tuple(
        summarize(each for each in _episodes(contents.path) if _setting(each) == setting)
        for setting in settings
    )
    return evaluations, tuple(redactor.counts())


def _setting(episode: Episode) -> tuple[str | None, ...]:
    names = ("policy", "corpus", "split", "reward", "schema_variant")
    user = episode.simulated_user
    shown = None if user is None else msgspec.json.encode(user.options, order="sorted").decode()
    return (*(getattr(episode, name) for name in names), shown)


def _episodes(path: Path) -> Iterator[Episode]:
    if path.suffix != ".parquet":
        return read_episodes(path)
    from agent_gym_env.export.parquet import read_parquet

    return read_parquet(path)


def _warn_or_refuse(personal: Iterable[RedactionCount], *, public: bool) -> None:
    counts = ", ".join(f"{each.kind}: {each.places}" for each in personal)
    advice = "`agent-gym import` removes it from your own logs"
    if public:
        raise ValueError(
            f"this looks like personal data ({counts}). {advice}. If it may be public, say so "
            "(--allow-personal-data)"
        )
    _log.warning("what is published looks like personal data (%s); %s", counts, advice)


def _repository(
    hub: Any, repo: str, kinds: tuple[RepositoryKind, ...], revision: str | None
) -> tuple[RepositoryKind, Any]:
    first, *others = kinds
    try:
        return first, _info(hub, repo, first, revision)
    except hub.errors.RepositoryNotFoundError:
        if not others:
            raise
        return others[0], _info(hub, repo, others[0], revision)


def _info(hub: Any, repo: str, kind: RepositoryKind, revision: str | None) -> Any:
    return hub.HfApi().repo_info(
        repo, repo_type=kind, revision=revision, timeout=_TIMEOUT_S, files_metadata=True
    )


def _sorted_out(names: Iterable[str]) -> tuple[list[str], tuple[str, ...]]:
    """Split names into files to fetch, and others.

    Raises:
        DataError: a name leads out of the folder.
    """
    wanted: list[str] = []
    others: list[str] = []
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise DataError(f"the repository has a file with a forbidden name: {name!r:.80}")
        (wanted if path.suffix in PLAIN else others).append(name)
    return wanted, tuple(name for name in others if not name.startswith(".git"))


def _library() -> Any:
    """Return the library, with two of its modules that it does not import itself."""
    for module in ("errors", "constants"):
        require(f"huggingface_hub.{module}", extra="hub")
    return require("huggingface_hub", extra="hub")


@contextmanager
def _hub_errors(hub: Any, repo: str) -> Iterator[None]:
    """Raise the errors of the hub as ours, without anything secret in them.

    Raises:
        DataError: there is no such repository, revision or file.
        AgentGymError: anything else.
    """
    missing = (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError)
    try:
        with tolerate_library_warnings():
            yield
    except AgentGymError:
        raise
    except missing as error:
        problem = f"{hub.constants.ENDPOINT} answered: {_shown(error)}. Private repositories need "
        raise DataError(f"{problem}HF_TOKEN", file=repo) from error
    except (OSError, ValueError, RuntimeError, hub.errors.HTTPError) as error:
        raise AgentGymError(
            f"{repo}: {hub.constants.ENDPOINT} answered: {_shown(error)}"
        ) from error


def _shown(error: Exception) -> str:
    text = " ".join(f"{error}".split()) or type(error).__name__
    return Scrubber(environment_secrets()).all(text)[:500]
