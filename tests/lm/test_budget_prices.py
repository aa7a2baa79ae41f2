from __future__ import annotations

import pytest

from agent_gym_env.lm.base import DEFAULT_MODEL
from agent_gym_env.lm.budget import FREE, PRICES, Price
from agent_gym_env.lm.gemini import RETIRED_GEMINI_MODELS, bare_name
from agent_gym_env.types import Usage
from tests.lm.clients import needs


def test_cost_is_tokens_times_price() -> None:
    assert Price(2.0, 12.0).cost_usd(Usage(1_000_000, 500_000)) == 2.0 + 6.0


def test_tokens_that_the_provider_remembers_have_their_own_price() -> None:
    price = Price(2.0, 12.0, cached_prompt=0.5)
    assert price.cost_usd(Usage(1_000_000, 0), cached_tokens=600_000) == 0.8 + 0.3
    assert Price(2.0, 12.0).cost_usd(Usage(1_000_000, 0), cached_tokens=600_000) == 2.0


def test_a_server_of_ones_own_costs_nothing() -> None:
    assert FREE.cost_usd(Usage(10**9, 10**9)) == 0.0


def test_the_default_model_has_a_price() -> None:
    assert bare_name(DEFAULT_MODEL) in PRICES


def test_each_successor_of_a_retired_model_has_a_price() -> None:
    for retired in RETIRED_GEMINI_MODELS.values():
        assert set(retired.successors) <= PRICES.keys()


@needs("litellm")
def test_our_prices_are_those_of_litellms_list() -> None:
    from agent_gym_env.lm.litellm_client import _load

    listed = _load().model_cost
    for name, price in PRICES.items():
        entry = listed.get(f"gemini/{name}")
        if entry is not None:  # litellm drops models that are gone
            assert entry["input_cost_per_token"] * 1e6 == pytest.approx(price.prompt)
            assert entry["output_cost_per_token"] * 1e6 == pytest.approx(price.completion)
            assert entry["cache_read_input_token_cost"] * 1e6 == pytest.approx(price.cached_prompt)
