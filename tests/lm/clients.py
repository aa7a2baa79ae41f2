"""Every remote client, made for the tests' server by the same arguments."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest

from agent_gym_env.lm.aiohttp_client import local_client
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.lm.google_genai_client import google_genai_client
from agent_gym_env.lm.google_generativeai_client import google_generativeai_client
from agent_gym_env.lm.litellm_client import litellm_client
from agent_gym_env.lm.retry import Limits
from tests.lm.server import LMServer

KEY = "canary-Kq7Zx9Lm2Vw4Rt8Y"
PRICE = Price(prompt=1_000_000.0, completion=2_000_000.0)
"""A dollar for a token that is sent, and two for one that is written."""

FAST = Limits(
    deadline_s=20.0, attempt_timeout_s=10.0, backoff_s=0.001, max_backoff_s=0.004, concurrency=32
)
"""No time is lost between attempts."""


def _gemini_by_litellm(server: LMServer, **arguments: Any) -> RemoteLM:
    return litellm_client(api_base=server.gemini_base, **arguments)


def _openai_by_litellm(server: LMServer, **arguments: Any) -> RemoteLM:
    return litellm_client("openai/any", api_base=server.openai_base, **arguments)


def _local(server: LMServer, **arguments: Any) -> RemoteLM:
    return local_client("any", server.openai_base, **arguments)


def _google_genai(server: LMServer, **arguments: Any) -> RemoteLM:
    return google_genai_client(api_base=server.url, **arguments)


def _google_generativeai(server: LMServer, **arguments: Any) -> RemoteLM:
    return google_generativeai_client(api_base=server.url, **arguments)


_MAKERS: dict[str, tuple[str, Callable[..., RemoteLM]]] = {
    "litellm-openai": ("litellm", _openai_by_litellm),
    "litellm-gemini": ("litellm", _gemini_by_litellm),
    "local": ("aiohttp", _local),
    "google-genai": ("google.genai", _google_genai),
    "google-generativeai": ("google.generativeai", _google_generativeai),
}

_EXTRAS = {
    "litellm": "litellm is missing: pip install -e '.[llm]'",
    "aiohttp": "aiohttp is missing: pip install -e '.[local]'",
    "google.genai": "google-genai is missing: pip install -e '.[gemini]'",
    "google.generativeai": "google-generativeai holds protobuf back; in a separate environment: "
    "pip install -e '.[google-generativeai,dev]'",
}

CLIENTS = tuple(_MAKERS)


def make_client(name: str, server: LMServer, **arguments: Any) -> RemoteLM:
    """Make a client; the test is skipped where its library is not installed."""
    library, make = _MAKERS[name]
    if not _is_installed(library):
        pytest.skip(_EXTRAS[library])
    return make(server, **{"api_key": KEY, "price": PRICE, "limits": FAST, **arguments})


def needs(library: str) -> pytest.MarkDecorator:
    """Skip a test where a library is not installed. It is not imported: that takes seconds."""
    return pytest.mark.skipif(not _is_installed(library), reason=_EXTRAS[library])


def asks(text: str = "Hello", **parameters: Any) -> Request:
    """A request with one user message."""
    return Request(messages=[{"role": "user", "content": text}], **parameters)


def _is_installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ModuleNotFoundError:
        return False
