from __future__ import annotations

from agent_gym_env.lm.base import DEFAULT_MODEL
from agent_gym_env.lm.gemini_key import bare_name
from agent_gym_env.lm.prices import FREE, PRICES, Price
from agent_gym_env.types import Usage


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
