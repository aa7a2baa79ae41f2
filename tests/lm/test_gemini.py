"""A model that Google has shut down is met at the door, by name, with what to ask in its place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from agent_gym_env.cli.main import main
from agent_gym_env.errors import RetiredModelError
from agent_gym_env.lm.base import DEFAULT_MODEL, MODEL_VARIABLE, default_model
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.lm.gemini import RETIRED_GEMINI_MODELS, model_to_ask
from agent_gym_env.lm.google_genai_client import google_genai_client
from agent_gym_env.lm.litellm_client import litellm_client
from agent_gym_env.lm.open_model import open_model
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer

SUCCESSOR = "gemini/gemini-3.1-pro-preview"
CLIENTS = [
    pytest.param(litellm_client, marks=needs("litellm")),
    pytest.param(google_genai_client, marks=needs("google.genai")),
]
GOOGLES = "https://generativelanguage.googleapis.com/v1beta"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MODEL_VARIABLE, "GEMINI_API_BASE", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_default_is_the_one_that_was_asked_for_and_is_known_to_be_retired() -> None:
    assert DEFAULT_MODEL == "gemini/gemini-3-pro-preview"
    retired = RETIRED_GEMINI_MODELS["gemini-3-pro-preview"]
    assert (retired.day.isoformat(), retired.successors) == (
        "2026-03-09",
        ("gemini-3.1-pro-preview", "gemini-3.8-flash"),
    )
    assert retired.source.startswith("https://ai.google.dev/")


@pytest.mark.parametrize("make", CLIENTS)
@pytest.mark.parametrize("key", [KEY, None])
def test_the_default_model_is_refused_before_the_first_call(
    make: Callable[..., RemoteLM], key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    if key is not None:
        monkeypatch.setenv("GEMINI_API_KEY", key)
    with pytest.raises(RetiredModelError) as caught:
        make()
    said = str(caught.value)
    assert said.startswith("gemini/gemini-3-pro-preview was retired by Google on 2026-03-09")
    for word in (SUCCESSOR, "gemini/gemini-3.8-flash", "--model", MODEL_VARIABLE, "when_retired"):
        assert word in said
    assert ("GOOGLE_API_KEY" in said) == (key is None)


@pytest.mark.parametrize("name", ["gemini/{}", "{}", "models/{}", "gemini/models/{}"])
@pytest.mark.parametrize("api_base", [None, GOOGLES])
def test_every_spelling_of_a_retired_model_is_refused(name: str, api_base: str | None) -> None:
    with pytest.raises(RetiredModelError):
        model_to_ask(name.format("gemini-3-pro-preview"), api_base, "refuse")


@pytest.mark.parametrize("model", ["gemini/gemini-3.8-flash", "openai/gemini-3-pro-preview"])
def test_other_models_are_asked_as_they_are_named(model: str) -> None:
    assert model_to_ask(model, None, "refuse") == model


def test_another_address_than_googles_may_serve_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_to_ask(DEFAULT_MODEL, "http://127.0.0.1:8000/v1beta", "refuse") == DEFAULT_MODEL
    monkeypatch.setenv("GEMINI_API_BASE", "http://127.0.0.1:8000/v1beta")
    assert model_to_ask(DEFAULT_MODEL, None, "refuse") == DEFAULT_MODEL


@pytest.mark.parametrize("make", CLIENTS)
def test_a_server_of_ones_own_is_asked_for_the_default(
    make: Callable[..., RemoteLM], server: LMServer
) -> None:
    base = server.gemini_base if make is litellm_client else server.url
    make(api_base=base, api_key=KEY, limits=FAST).complete(asks())
    assert server.requests[0].model == "gemini-3-pro-preview"


def test_a_successor_is_asked_only_where_that_was_chosen_and_never_silently(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert model_to_ask(DEFAULT_MODEL, None, "successor") == SUCCESSOR
    assert f"asking {SUCCESSOR} in its place" in caplog.text
    assert model_to_ask(DEFAULT_MODEL, None, "ask") == DEFAULT_MODEL


@needs("litellm")
def test_the_fall_back_is_an_option_of_a_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    assert open_model({"when_retired": "successor"}).name == SUCCESSOR
    assert open_model({"when_retired": "ask"}).name == DEFAULT_MODEL
    with pytest.raises(ValueError, match="when_retired"):
        open_model({"when_retired": "silently"})


@needs("litellm")
@pytest.mark.parametrize("config", [None, {}, {"client": "litellm"}])
def test_the_environment_names_the_model_where_nothing_else_does(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    monkeypatch.setenv(MODEL_VARIABLE, "gemini/gemini-3.8-flash")
    assert default_model() == "gemini/gemini-3.8-flash"
    assert open_model(config).name == "gemini/gemini-3.8-flash"
    assert open_model("gemini/gemini-3.5-flash").name == "gemini/gemini-3.5-flash"


@needs("litellm")
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--policy", "llm"],
        ["evaluate", "--policy", "oracle", "--reward", "llm_judge"],
        ["play", "--policy", "llm"],
        ["agreement"],
    ],
)
def test_a_command_that_names_no_model_says_how_to_name_one(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    assert main(command) == 3
    assert f"with --model {SUCCESSOR}" in capsys.readouterr().err
