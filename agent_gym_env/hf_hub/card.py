"""The card of a repository: its README, with metadata that the hub searches."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import agent_gym_env
from agent_gym_env.corpus.logs.redaction import RedactionCount
from agent_gym_env.evaluation.evaluate import Evaluation
from agent_gym_env.evaluation.table import interval, number
from agent_gym_env.extras import require
from agent_gym_env.hf_hub.contents import Contents
from agent_gym_env.lm.credentials import without_credentials
from agent_gym_env.storage.files import read_file

TAG = "rl-environment"
"""Tag by which the hub finds environments and what belongs to them."""

_LARGEST_SETTINGS = 1 << 20
_SETTINGS = ("config.json", "run.json", "manifest.json")


def make_card(
    contents: Contents,
    repo: str,
    *,
    licence: str | None = None,
    evaluations: Sequence[Evaluation] = (),
    found: Iterable[RedactionCount] = (),
) -> str:
    """Write the card of what is published.

    Args:
        contents: what is published.
        repo: name of the repository.
        licence: licence of the data or weights, as the hub names it, such as ``cc-by-sa-4.0``.
        evaluations: figures of episodes.
        found: what looks like personal data in them.

    Raises:
        MissingDependency: huggingface_hub is not installed.
    """
    parts = [
        f"# {repo}",
        _WHAT[contents.kind],
        _figures(evaluations),
        f"## Use\n{_use(contents, repo)}",
        _made(contents),
        f"## Licence\n{_licence(licence)}",
        _personal(found) if contents.kind == "episodes" else "",
        f"## Versions\nAgent Gym {agent_gym_env.__version__}, Python {platform.python_version()}.",
    ]
    return _metadata(contents, licence) + "\n\n".join(filter(None, parts)) + "\n"


_WHAT = {
    "episodes": "Episodes of task-oriented dialogues with tool calls, recorded by Agent Gym: what "
    "each policy said and called, what the tools answered, and the rewards.",
    "model": "A language model that talks and calls tools, trained with Agent Gym.",
    "policy": "A policy that PPO trained in an environment of Agent Gym: arrays and a JSON header, "
    "nothing pickled.",
    "program": "A DSPy program whose prompt Agent Gym optimised, as JSON.",
}


def _metadata(contents: Contents, licence: str | None) -> str:
    hub: Any = require("huggingface_hub", extra="hub")
    tags = [TAG, "agent-gym", "dialogue", "tool-use"]
    if contents.kind == "episodes":
        pattern = "*.parquet" if contents.path.suffix == ".parquet" else "episodes*.jsonl"
        configs = [{"config_name": "default", "data_files": pattern}]
        data = hub.DatasetCardData(license=licence or "other", tags=tags, configs=configs)
    else:
        library = "transformers" if contents.kind == "model" else "agent-gym"
        data = hub.ModelCardData(license=licence or "other", tags=tags, library_name=library)
    return f"---\n{data.to_yaml()}\n---\n\n"


def _figures(evaluations: Sequence[Evaluation]) -> str:
    if not evaluations:
        return ""
    lines = [
        "## Figures",
        "| policy | split | reward | episodes | reward per turn | 95 % interval | strict success |",
        "|---|---|---|---|---|---|---|",
    ]
    for each in evaluations:
        strict = "" if each.simulated is None else number(each.simulated.strict.mean)
        cells = [
            *map(_cell, (each.policy, each.setting.split, each.setting.reward)),
            str(each.counts.episodes),
            number(each.reward.mean),
            interval(each.reward),
            strict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return a text that cannot leave its cell of a table, nor become HTML."""
    shown = " ".join(text.split())
    for special in "\\`*_[]<>|":
        shown = shown.replace(special, f"\\{special}")
    return shown


def _use(contents: Contents, repo: str) -> str:
    name = repo.rpartition("/")[2]
    is_folder = contents.path.is_dir()
    path = f"out/{name}" if is_folder else f"out/{name}/{next(iter(contents.files))}"
    if contents.path.suffix == ".parquet":
        line = f"agent-gym export {path} --format sft --out rows.jsonl"
    elif contents.kind == "episodes":
        line = f"agent-gym report {path}"
    else:
        line = f'agent-gym evaluate --policy \'{{"name": "{contents.policy}", "path": "{path}"}}\''
    return f"```sh\nagent-gym hub pull {repo} --out out/{name}\n{line}\n```"


def _made(contents: Contents) -> str:
    """Show the settings that are beside what is published, without credentials."""
    for folder in (contents.path, contents.path.parent):
        for name in _SETTINGS:
            found = _settings(folder / name) if contents.kind != "program" else None
            if found is not None:
                shown = msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
                fenced = shown.replace("```", "'" * 3)
                return f"## How it was made\n```json\n{fenced}\n```"
    return ""


def _settings(path: Path) -> Any:
    if not path.is_file() or path.stat().st_size > _LARGEST_SETTINGS:
        return None
    read = msgspec.json.decode(read_file(path))
    if not isinstance(read, Mapping) or "model_type" in read:  # the configuration of a model
        return None
    return without_credentials(read.get("config", read))


def _licence(licence: str | None) -> str:
    return licence or "Who published this did not name a licence. Ask before you use it."


def _personal(found: Iterable[RedactionCount]) -> str:
    counts = ", ".join(f"{each.kind}: {each.places}" for each in found)
    return f"## Personal data\nThis was not removed, and looks like it: {counts}." if counts else ""
