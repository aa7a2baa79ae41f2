"""Checkpoints of a PPO run, between two updates, in one file of plain arrays.

stable-baselines3's own format is read with pickle, which can execute code. This one cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import msgspec
import numpy as np

from agent_gym_env.errors import DataError
from agent_gym_env.extras import require
from agent_gym_env.storage.array_file import Arrays, read_arrays, write_arrays

require("stable_baselines3", extra="sb3")

import torch  # noqa: E402
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor  # noqa: E402

FORMAT = 1

_LARGEST = 1 << 30
"""Largest size of the arrays in bytes: the weights, and two moments of the optimizer for each."""

_Notes = TypeVar("_Notes")
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of a checkpoint that is not arrays.

    Attributes:
        format: version of the format.
        steps: steps taken so far.
        updates: passes over a rollout so far.
        environments: state of each environment.
        notes: data of the caller.
    """

    format: int
    steps: _Count
    updates: _Count
    environments: list[dict[str, Any]]
    notes: Any


def save_checkpoint(
    path: Path, model: OnPolicyAlgorithm, notes: Any, *, dialogues: bool = True
) -> None:
    """Write the state of a run; the file appears complete or not at all.

    Args:
        path: path of the file.
        model: model with a `VecMonitor` around a `DummyVecEnv` of ``SGD-v0``.
        notes: any JSON-able value.
        dialogues: whether the dialogues under way are written; without them, a run that goes on
            begins new ones.

    Raises:
        StorageError: the file cannot be written.
    """
    monitor, environments = _environments(model)
    header = _Header(
        format=FORMAT,
        steps=model.num_timesteps,
        updates=model._n_updates,
        environments=[_method(env, "get_state")() for env in environments if dialogues],
        notes=msgspec.to_builtins(notes),
    )
    arrays: Arrays = {}
    if dialogues:
        arrays["episode_starts"] = np.asarray(model._last_episode_starts)
        arrays["returns"], arrays["lengths"] = monitor.episode_returns, monitor.episode_lengths
    for name, weights in model.policy.state_dict().items():
        arrays[f"weights/{name}"] = weights.numpy()
    for number, state in model.policy.optimizer.state_dict()["state"].items():
        for name, value in state.items():
            arrays[f"optimizer/{number}/{name}"] = value.numpy()
    write_arrays(path, header, arrays)


def load_checkpoint(
    path: Path, model: OnPolicyAlgorithm, notes: type[_Notes], *, dialogues: bool = True
) -> _Notes:
    """Set a model with the same settings, and its environments, to the state of a checkpoint.

    Args:
        path: path of the file.
        model: model with the same settings; see `save_checkpoint`.
        notes: type of the notes.
        dialogues: whether the checkpoint holds the dialogues under way.

    Returns:
        The notes.

    Raises:
        DataError: the file is not a checkpoint, or its model has another shape.
    """
    header, arrays = _read(path)
    try:
        kept = msgspec.convert(header.notes, notes)
        _restore_weights(model, arrays)
        if dialogues:
            _restore_environments(model, header, arrays)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"the checkpoint does not fit: {error}", file=str(path)) from error
    model.num_timesteps = header.steps
    model._n_updates = header.updates
    return kept


def _read(path: Path) -> tuple[_Header, Arrays]:
    header, arrays = read_arrays(path, _Header, what="checkpoint", largest=_LARGEST)
    if header.format != FORMAT:
        raise DataError(
            f"the checkpoint's format is {header.format}, this version reads {FORMAT}",
            file=str(path),
        )
    return header, arrays


def _restore_weights(model: OnPolicyAlgorithm, arrays: Arrays) -> None:
    weights: dict[str, torch.Tensor] = {}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        kind, _, name = key.partition("/")
        if kind == "weights":
            weights[name] = torch.from_numpy(array)
        elif kind == "optimizer":
            number, _, moment = name.partition("/")
            moments.setdefault(int(number), {})[moment] = torch.from_numpy(array)
    model.policy.load_state_dict(weights)
    for place, parameter in enumerate(model.policy.parameters()):
        for kind in ("exp_avg", "exp_avg_sq"):
            _require_shape(moments[place][kind], parameter.shape, f"optimizer/{place}/{kind}")
    optimizer = model.policy.optimizer
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def _restore_environments(model: OnPolicyAlgorithm, header: _Header, arrays: Arrays) -> None:
    monitor, environments = _environments(model)
    for name in ("returns", "lengths", "episode_starts"):
        _require_shape(arrays[name], (len(environments),), name)
    monitor.reset()
    vectors = []
    for env, state in zip(environments, header.environments, strict=True):
        observation, _ = _method(env, "set_state")(state)
        _method(env, "propose")(observation)
        vectors.append(_method(env, "observation")(observation))
    monitor.episode_returns = arrays["returns"]
    monitor.episode_lengths = arrays["lengths"]
    model._last_obs = np.stack(vectors)
    model._last_episode_starts = arrays["episode_starts"]


def _require_shape(found: Any, shape: tuple[int, ...], name: str) -> None:
    if found.shape != shape:
        raise ValueError(f"{name} has shape {tuple(found.shape)}, expected {tuple(shape)}")


def _environments(model: OnPolicyAlgorithm) -> tuple[VecMonitor, list[Any]]:
    monitor = cast(VecMonitor, model.env)
    return monitor, cast(DummyVecEnv, monitor.venv).envs


def _method(env: Any, name: str) -> Callable[..., Any]:
    """Return a method of the outermost wrapper that has it."""
    method: Callable[..., Any] = env.get_wrapper_attr(name)
    return method
