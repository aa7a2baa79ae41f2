from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_gym_env.errors import MissingCredentials, PermanentLMError
from agent_gym_env.lm.base import DEFAULT_MODEL
from agent_gym_env.lm.budget import PRICES
from agent_gym_env.lm.litellm_client import litellm_client
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer
from tests.timing import PROCESS_S

pytestmark = [needs("litellm")]

ROOT = Path(__file__).parents[2]


def test_the_default_model_is_gemini_and_its_key_from_the_environment(
    server: LMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", "gemini-key")
    lm = litellm_client(api_base=server.gemini_base, limits=FAST)
    assert lm.name == DEFAULT_MODEL
    lm.complete(asks())
    monkeypatch.setenv("GOOGLE_API_KEY", "google-key")
    litellm_client(api_base=server.gemini_base, limits=FAST).complete(asks())
    keys = [request.headers["x-goog-api-key"] for request in server.requests]
    assert keys == ["gemini-key", "google-key"]
    assert "key" not in server.requests[0].path


def test_without_a_key_for_gemini_it_says_which_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PermanentLMError, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        litellm_client()


KEYS = {
    "openai/gpt-5-mini": "OPENAI_API_KEY",
    "gpt-4o-mini": "OPENAI_API_KEY",
    "anthropic/claude-sonnet-4-5": "ANTHROPIC_API_KEY",
    "groq/any": "GROQ_API_KEY",
    "mistral/any": "MISTRAL_API_KEY",
    "together_ai/any": "TOGETHERAI_API_KEY",
    "cohere/any": "COHERE_API_KEY",
    "huggingface/any/any": "HUGGINGFACE_API_KEY",
    "replicate/any": "REPLICATE_API_KEY",
}


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.endswith(("KEY", "TOKEN", "KEY_ID", "CREDENTIALS")) or name.startswith("AWS_"):
            monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(("model", "variable"), KEYS.items())
def test_a_missing_key_is_known_before_the_first_request(model: str, variable: str) -> None:
    with pytest.raises(MissingCredentials, match=f"no key is set for {model}: .*{variable}"):
        litellm_client(model)


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(
    ("model", "variable"),
    [*KEYS.items(), ("huggingface/any/any", "HF_TOKEN"), ("cohere/any", "CO_API_KEY"),
     ("together_ai/any", "TOGETHER_API_KEY"), ("replicate/any", "REPLICATE_API_TOKEN")],
)  # fmt: skip
def test_a_key_under_any_name_that_litellm_reads_is_enough(
    model: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "any-key-at-all")
    assert litellm_client(model).name == model


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(
    "model",
    ["ollama/any", "hosted_vllm/any", "lm_studio/any", "bedrock/any", "vertex_ai/any", "azure/any",
     "sagemaker/any", "github_copilot/any"],
)  # fmt: skip
def test_who_needs_no_key_or_has_other_credentials_is_not_refused(model: str) -> None:
    assert litellm_client(model).name == model


@pytest.mark.usefixtures("no_keys")
def test_a_server_of_ones_own_may_need_no_key(server: LMServer) -> None:
    lm = litellm_client("openai/any", api_base=server.openai_base, limits=FAST)
    assert lm.complete(asks()).text == "Certainly."
    server.plan("401")
    with pytest.raises(MissingCredentials, match="OPENAI_API_KEY"):
        lm.complete(asks())
    assert len(server.exchanges) == 2


@pytest.mark.usefixtures("no_keys")
def test_credentials_that_only_a_call_finds_missing_stop_the_run_at_its_first_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AZURE_API_BASE", "http://127.0.0.1:9")
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    lm = litellm_client("azure/any", limits=FAST)
    with pytest.raises(MissingCredentials, match="Missing credentials"):
        lm.complete(asks())
    assert lm.budget.spent.calls == 1


@pytest.mark.usefixtures("no_keys")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("databricks/any", "API key are not set"),
        ("snowflake/any", "Missing Snowflake JWT key"),
        ("predibase/any", "Missing Predibase Tenant ID"),
        ("maritalk/any", "Missing API Key"),
        ("bytez/any", "Missing api_key"),
        ("azure_ai/any", "api_base is required"),
        ("heroku/any", "No api base was set"),
    ],
)
def test_settings_that_only_a_call_finds_missing_stop_the_run(
    model: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    lm = litellm_client(model, limits=FAST)
    with pytest.raises(MissingCredentials, match=reason):
        lm.complete(asks())
    assert lm.budget.spent.calls == 1


def test_a_provider_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="does not know the provider of 'gpt-five'; expected"):
        litellm_client("gpt-five")


def test_the_user_of_an_address_is_sent_and_a_query_refused(server: LMServer) -> None:
    base = server.openai_base.replace("//", "//user:pass%2Fword@")
    litellm_client("openai/any", api_base=base, limits=FAST).complete(asks())
    assert server.requests[0].headers["authorization"] == "Basic dXNlcjpwYXNzL3dvcmQ="
    with pytest.raises(ValueError, match="cannot send the query") as caught:
        litellm_client("openai/any", api_base=f"{base}?api_key=K-secret")
    assert "K-secret" not in str(caught.value)


def test_prices_are_litellms_and_ours_where_it_has_none(server: LMServer) -> None:
    def price(model: str) -> float | None:
        lm = litellm_client(model, api_base=server.openai_base, api_key=KEY)
        return None if lm._transport.price is None else lm._transport.price.completion

    assert price("openai/gpt-4o-mini") == pytest.approx(0.6)
    assert price(DEFAULT_MODEL) == PRICES["gemini-3-pro-preview"].completion
    assert price("openai/nobody-knows") is None


def test_an_unknown_price_is_none_and_never_nothing(server: LMServer) -> None:
    lm = litellm_client("openai/any", api_base=server.openai_base, api_key=KEY, limits=FAST)
    assert lm.complete(asks()).cost_usd is None
    assert lm.budget.spent.unpriced_calls == 1


def test_no_import_and_no_first_call_opens_a_connection_elsewhere(server: LMServer) -> None:
    code = (
        "import sys\n"
        "places = set()\n"
        "def hook(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
        "        places.add(arguments[1][0] if event == 'socket.connect' else arguments[0])\n"
        "sys.addaudithook(hook)\n"
        "from agent_gym_env.lm.base import Request\n"
        "from agent_gym_env.lm.litellm_client import litellm_client\n"
        "lm = litellm_client('openai/any', api_base=sys.argv[1], api_key='x')\n"
        "lm.complete(Request([{'role': 'user', 'content': 'x'}]))\n"
        "print(*places)\n"
    )
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", code, server.openai_base],
        cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_S, env=environment,
    )  # fmt: skip
    assert done.stdout == "127.0.0.1\n"
    assert done.stderr == ""
