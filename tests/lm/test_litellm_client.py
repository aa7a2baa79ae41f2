from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent_gym_env.errors import PermanentLMError
from agent_gym_env.lm.base import DEFAULT_MODEL
from agent_gym_env.lm.litellm_client import litellm_client
from agent_gym_env.lm.prices import PRICES
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer

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
        cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment,
    )  # fmt: skip
    assert done.stdout == "127.0.0.1\n"
    assert done.stderr == ""
