"""A name that is not known is answered with the known ones and the nearest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest

from agent_gym_env.suggestions import (
    argument_types,
    explained,
    keywords,
    refuse_unknown,
    refuse_wrong_types,
    unknown_name,
)


class Pot(msgspec.Struct, forbid_unknown_fields=True):
    """A part of an order."""

    grams: Annotated[int, msgspec.Meta(ge=1)]
    kind: Literal["green", "black"] = "green"


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """Of tea."""

    name: str
    pots: list[Pot] = []
    pot: Pot | None = None
    by_day: dict[str, Pot] = {}
    two: tuple[Pot, int] | None = None


def test_a_name_is_answered_with_the_known_ones_and_the_nearest() -> None:
    assert unknown_name("tea", "senchha", ["Assam", "Sencha"]) == (
        "tea must be one of Assam, Sencha, not 'senchha' (did you mean 'Sencha'?)"
    )
    assert unknown_name("tea", 7, ["Assam"]) == "tea must be Assam, not 7"
    assert unknown_name("tea", "coffee", []) == "tea must be nothing, not 'coffee'"


def test_a_long_list_is_cut_and_a_long_name_too() -> None:
    said = unknown_name("tea", "x" * 10_000, [f"tea-{number}" for number in range(100)])
    assert "tea-39 or one of 60 more, not 'xxx" in said
    assert len(said) < 600


def test_options_are_refused_by_name() -> None:
    refuse_unknown("a pot", ["grams"], ["grams", "kind"])
    with pytest.raises(ValueError, match=r"^a pot has no option 'gram' \(did you mean 'grams'\?\)"):
        refuse_unknown("a pot", ["grams", "gram"], ["grams", "kind"])
    with pytest.raises(ValueError, match=r"^water has no option 'kind'; it has no options$"):
        refuse_unknown("water", ["kind"], [])


def test_values_are_refused_by_their_types() -> None:
    types = argument_types(Pot)
    refuse_wrong_types("a pot", {"grams": 3, "lid": object()}, types)
    with pytest.raises(ValueError, match=r"^a pot: grams: expected a whole number >= 1, found 0$"):
        refuse_wrong_types("a pot", {"grams": 0}, types)
    with pytest.raises(ValueError, match=r"^x: pot.kind: expected one of black, green, found 'b'$"):
        refuse_wrong_types("x", {"pot": {"grams": 1, "kind": "b"}}, argument_types(Order))


def test_keywords_are_what_may_be_left_away_or_has_to_be_named() -> None:
    def brew(water: int, grams: int = 3, *, kind: str, name: str = "") -> None: ...

    assert keywords(brew, Pot) == {"grams", "kind", "name"}


@pytest.mark.parametrize(
    ("value", "problem", "path"),
    [
        ({"nmae": "x", "name": "y"}, "unknown field 'nmae' (did you mean 'name'?); expected one of "
         "name, pots, pot, by_day, two", ""),
        ({"name": "x", "pots": [{"gramms": 1}]}, "unknown field 'gramms' (did you mean 'grams'?); "
         "expected one of grams, kind", ".pots[0]"),
        ({"name": "x", "pots": [{}]}, "the field 'grams' is missing", ".pots[0]"),
        ({"name": "x", "pot": {"grams": 0}}, "expected a whole number >= 1", ".pot.grams"),
        ({"name": "x", "pot": 3}, "expected an object or null, found a whole number", ".pot"),
        ({"name": "x", "by_day": {"a": {"grams": 1, "kind": "blakc"}}}, "expected one of black, "
         "green, found 'blakc' (did you mean 'black'?)", ".by_day[...].kind"),
        ({"name": "x", "two": [{"grams": 1, "x": 1}, 2]}, "unknown field 'x'; expected one of "
         "grams, kind", ".two[0]"),
        ({"name": None}, "expected a string, found null", ".name"),
        ([], "expected an object, found a list", ""),
        (None, "expected an object, found null", ""),
    ],
)  # fmt: skip
def test_a_decoders_error_is_told_with_what_is_known_in_its_place(
    value: Any, problem: str, path: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(msgspec.json.encode(value), type=Order)
    assert explained(caught.value, Order) == (problem, path)
