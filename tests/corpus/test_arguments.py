from __future__ import annotations

import pytest

from agent_gym_env.corpus.arguments import is_form, stated_arguments

TODAY = "2019-03-01"


@pytest.mark.parametrize(
    ("value", "expected", "forms"),
    [
        ("Lund", "Lund", ()),
        (" lund", "Lund", ()),
        ("tomorrow", "2019-03-02", ()),
        (True, "True", ()),
        (4.0, "4", ()),
        ("LA", "Los Angeles", ("LA", "City of Angels")),
    ],
)
def test_a_value_equals_every_form_of_itself(
    value: object, expected: str, forms: tuple[str, ...]
) -> None:
    assert is_form(value, expected, forms, TODAY)


@pytest.mark.parametrize("value", ["Malmo", ["Lund"], {"Lund": "Lund"}, None, ""])
def test_another_value_and_a_list_of_the_value_are_no_forms(value: object) -> None:
    assert not is_form(value, "Lund", ("lund",), TODAY)


def test_an_optional_argument_at_its_default_or_without_preference_is_not_stated() -> None:
    defaults = {"size": "2", "price": "dontcare", "day": "2019-03-01"}
    arguments = {"city": "dontcare", "size": 2, "price": "dontcare", "day": "today"}
    assert stated_arguments(arguments, defaults, TODAY) == {"city": "dontcare"}


def test_an_optional_argument_at_another_value_is_stated() -> None:
    assert stated_arguments({"size": "4"}, {"size": "2"}, TODAY) == {"size": "4"}
