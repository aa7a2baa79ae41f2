"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import json
from typing import Any

from agent_gym_env.assembly import name_model
from agent_gym_env.corpus.sgd import SCHEMA_VARIANTS, SPLITS
from agent_gym_env.lm.base import DEFAULT_MODEL, MODEL_VARIABLE
from agent_gym_env.lm.lenient_json import MAX_DEPTH, nests_deeper
from agent_gym_env.registry import POLICIES, REWARDS


def add_world(parser: argparse.ArgumentParser, *, split: str) -> None:
    """Add the arguments that choose the dialogues and how they are played."""
    add_corpus(parser)
    parser.add_argument("--split", choices=SPLITS, default=split, help="default: %(default)s")
    parser.add_argument("--services", nargs="+", metavar="NAME", help="only dialogues of these")
    parser.add_argument("--seen", choices=("all", "seen", "unseen"), default="all",
                        help="only services that train has, or has not")  # fmt: skip
    add_variant(parser)
    add_model(parser)
    parser.add_argument("--tools-offered", choices=("dialogue", "all"), default="dialogue")


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a corpus."""
    parser.add_argument(
        "--corpus", default="sample", metavar="CORPUS",
        help="'sample' (the default), 'sgd' (after `agent-gym data download`), or the path of a "
        "folder or archive in SGD's format",
    )  # fmt: skip


def add_variant(parser: argparse.ArgumentParser) -> None:
    """Add the argument that chooses a schema variant of SGD-X."""
    parser.add_argument("--schema-variant", choices=SCHEMA_VARIANTS, help="of SGD-X")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the language model; `name_models` puts it where it belongs."""
    parser.add_argument(
        "--model", type=model_config, metavar="MODEL", dest="language_model",
        help="the language model of each policy and judge that names none: a name, or a JSON "
        f"object; default: ${MODEL_VARIABLE}, or {DEFAULT_MODEL}",
    )  # fmt: skip


def add_chat_template(parser: argparse.ArgumentParser) -> None:
    """Add the argument that chooses the chat template of a local model."""
    parser.add_argument(
        "--chat-template", metavar="FILE|hermes|compact",
        help="chat template that writes conversations for the model; default: the model's own, or "
        "hermes if that does not support tools",
    )  # fmt: skip


def name_models(options: argparse.Namespace) -> None:
    """Write the language model into each policy and reward of a command that names none."""
    model = getattr(options, "language_model", None)
    for place in ("policy", "path", "reward", "judge", "truth"):
        config = getattr(options, place, None)
        kind = POLICIES if place in ("policy", "path") else REWARDS
        if isinstance(config, dict):
            setattr(options, place, name_model(config, model, kind=kind))
        elif isinstance(config, list):
            setattr(options, place, [name_model(each, model, kind=kind) for each in config])


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add the argument for output that machines read."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def world_arguments(options: argparse.Namespace) -> dict[str, Any]:
    """Collect what `add_world` added, as arguments of ``SGD-v0``."""
    names = ("corpus", "split", "services", "seen", "schema_variant", "tools_offered")
    return {name: getattr(options, name) for name in names}


def whole_number(text: str) -> int:
    """Read a number from 0, such as a seed.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _number_from(text, 0)


def positive(text: str) -> int:
    """Read a number from 1, such as a count of episodes.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    return _number_from(text, 1)


def _number_from(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least}, not {text!r}")
    return int(text)


def policy_config(text: str) -> dict[str, Any]:
    """Read a policy: a name, or a JSON object with a name and options.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    return _config(text, f"one of {', '.join(POLICIES.names())}")


def reward_config(text: str) -> dict[str, Any]:
    """Read a reward: a preset's name, or a JSON object with a name and options.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    return _config(text, f"one of {', '.join(REWARDS.names())}")


def model_config(text: str) -> str | dict[str, Any]:
    """Read a language model: a name, or a JSON object with the options of `ModelOptions`.

    Raises:
        argparse.ArgumentTypeError: it is no JSON object.
    """
    return json_object(text) if text.lstrip().startswith("{") else text


def _config(text: str, names: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {"name": text}
    config = json_object(text)
    if not isinstance(config.get("name"), str):
        raise argparse.ArgumentTypeError(f'the object needs "name": {names}')
    return config


def json_object(text: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    if nests_deeper(value, MAX_DEPTH):
        raise argparse.ArgumentTypeError(f"it nests more than {MAX_DEPTH} levels")
    return value
