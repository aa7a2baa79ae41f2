"""DSPy programs in files: state only, written without a model and read without trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.policies.dspy_module import SGDAgentModule, plain_demo
from agent_gym_env.storage.files import as_utf8, read_file, written_whole

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.utils.saving import get_dependency_versions  # noqa: E402

MAX_PROGRAM_BYTES = 16 << 20


class _Signature(msgspec.Struct):
    instructions: str


class _Predictor(msgspec.Struct):
    signature: _Signature
    demos: list[dict[str, Any]] = []


class _State(msgspec.Struct, rename={"predict": "predict.predict"}):
    predict: _Predictor


def save_program(program: SGDAgentModule, path: Path) -> None:
    """Write a program as DSPy does: its state as JSON, without any model or key.

    Raises:
        StorageError: the disk does not take it.
    """
    state = program.dump_state()
    predictor = state["predict.predict"]
    predictor.update(lm=None, traces=[], train=[])
    predictor["demos"] = [{"augmented": True, **demo} for demo in program.demos]
    metadata = {"dependency_versions": get_dependency_versions()}
    with written_whole(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode({**state, "metadata": metadata})))


def load_program(path: str | Path) -> SGDAgentModule:
    """Read a program: its instructions and demonstrations, and nothing else of the file.

    A file may come from anywhere. Models, keys, addresses and settings in it are not read, so it
    cannot make calls go elsewhere; nothing of it is executed.

    Raises:
        DataError: the file is no program of this package.
    """
    state = _read_state(Path(path))
    program = SGDAgentModule()
    predictor = program.predict.predict
    predictor.signature = predictor.signature.with_instructions(state.signature.instructions)
    predictor.demos = [dspy.Example(augmented=True, **plain_demo(demo)) for demo in state.demos]
    return program


def _read_state(path: Path) -> _Predictor:
    try:
        content = as_utf8(read_file(path, largest=MAX_PROGRAM_BYTES), str(path))
        return msgspec.json.decode(content, type=_State).predict
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"this is no state of an SGDAgentModule, as JSON: {error}", file=str(path)
        ) from error
