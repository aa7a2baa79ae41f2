"""Errors say where, are caught by their families, and cross processes."""

from __future__ import annotations

import pickle
import re

import pytest

from agent_gym_env import errors
from agent_gym_env.errors import AgentGymError, ChecksumError, DataError, StorageError


def test_a_data_error_says_where() -> None:
    error = DataError("no such slot", file="train/x.json", dialogue_id="1_1", turn=3, pointer="/0")
    assert str(error) == "no such slot (file train/x.json, dialogue 1_1, turn 3, at /0)"
    assert (error.problem, error.file, error.turn) == ("no such slot", "train/x.json", 3)


def test_a_data_error_without_a_place_is_its_problem() -> None:
    assert str(DataError("empty")) == "empty"


def test_the_first_turn_is_a_place() -> None:
    assert str(DataError("empty", turn=0)) == "empty (turn 0)"


@pytest.mark.parametrize(
    "error", [DataError("bad", file="f", turn=2), ChecksumError("differs", pointer="/1")]
)
def test_a_data_error_crosses_processes_whole(error: DataError) -> None:
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is type(error)
    assert (str(copied), copied.args, vars(copied)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        (errors.DataError, AgentGymError),
        (errors.ChecksumError, DataError),
        (errors.StorageError, AgentGymError),
        (errors.LockError, StorageError),
        (errors.ResumeMismatchError, StorageError),
        (errors.LMError, AgentGymError),
        (errors.TransientLMError, errors.LMError),
        (errors.PermanentLMError, errors.LMError),
        (errors.DeadlineError, errors.LMError),
        (errors.BudgetExceeded, errors.LMError),
        (errors.JudgeError, AgentGymError),
        (errors.MissingDependency, AgentGymError),
        (errors.MissingDependency, ImportError),
    ],
)
def test_each_error_is_caught_by_its_family(kind: type[Exception], family: type[Exception]) -> None:
    assert issubclass(kind, family)


def test_the_module_s_tree_names_every_error() -> None:
    drawn = re.findall(
        r"[─ ] (\w+?(?:Error|Exceeded|Dependency|Credentials))\b", errors.__doc__ or ""
    )
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, AgentGymError)
    }
    assert set(drawn) == defined
