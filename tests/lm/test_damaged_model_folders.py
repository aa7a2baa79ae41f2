"""A model folder is read without waiting for files that never end."""

import os
from pathlib import Path

import pytest

from agent_gym_env.errors import DataError
from agent_gym_env.lm.huggingface_models import reading_model


def test_a_configuration_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(DataError, match="is not a regular file"), reading_model(tmp_path):
        pytest.fail("this must not be reached")


def test_any_exception_of_a_loader_is_a_data_error(tmp_path: Path) -> None:
    refused = pytest.raises(DataError, match="this is not a tokenizer: no merges")
    with refused, reading_model(tmp_path, "tokenizer"):
        raise RuntimeError("no merges")
