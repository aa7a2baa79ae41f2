"""A model's configuration reaches its client whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.client import ClientOptions, RemoteLM
from agent_gym_env.lm.google_genai_client import google_genai_client
from agent_gym_env.lm.google_generativeai_client import google_generativeai_client
from agent_gym_env.lm.litellm_client import litellm_client
from agent_gym_env.lm.open_model import open_model
from tests.lm.clients import needs


@needs("aiohttp")
def test_every_option_reaches_the_client(tmp_path: Path) -> None:
    lm = open_model(
        {
            "client": "local",
            "model": "m",
            "api_base": "http://127.0.0.1:9/v1",
            "budget_calls": 3,
            "limits": {"max_attempts": 2},
            "price": {"prompt": 1.0, "completion": 2.0},
        },
        cache=tmp_path,
    )
    assert isinstance(lm, RemoteLM)
    assert lm.limits.max_attempts == 2
    assert lm.budget.calls == 3
    assert lm._transport.price == Price(1.0, 2.0)
    assert lm._cache is not None
    assert lm._cache.folder == tmp_path
    lm.close()


@pytest.mark.parametrize(
    "factory", [local_client, litellm_client, google_genai_client, google_generativeai_client]
)
def test_the_signature_of_a_client_lists_its_options(factory: Callable[..., RemoteLM]) -> None:
    options = {field.name for field in msgspec.structs.fields(ClientOptions)}
    assert inspect.signature(factory).parameters.keys() == {"model", *options}


@needs("aiohttp")
def test_a_client_refuses_an_unknown_option() -> None:
    with pytest.raises(TypeError, match="max_price"):
        local_client("m", max_price=1.0)


def test_the_options_of_a_client_do_not_show_the_key() -> None:
    assert "canary" not in repr(ClientOptions(api_key="canary"))
