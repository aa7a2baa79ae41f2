from __future__ import annotations

import pytest

from agent_gym_env.lm.google_generativeai_client import google_generativeai_client
from tests.lm.clients import FAST, KEY, asks, needs
from tests.lm.server import LMServer

pytestmark = needs("google.generativeai")


def test_it_says_that_it_is_at_its_end_and_what_to_use(server: LMServer) -> None:
    with pytest.warns(DeprecationWarning, match=r"agent-gym-env\[gemini\]"):
        lm = google_generativeai_client(api_base=server.url, api_key=KEY, limits=FAST)
    assert lm.complete(asks()).text == "Certainly."
