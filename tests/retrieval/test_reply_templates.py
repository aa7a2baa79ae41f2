import pytest

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.retrieval.reply_templates import (
    Placeholder,
    Template,
    TemplateFiller,
    template_of,
)
from agent_gym_env.retrieval.state import State
from tests.retrieval.scenes import FIND, GYOKURO, SENCHA, state


def found(*rows: dict[str, str]) -> State:
    scene = state(FIND)
    scene.fill("Teas_1", "kind", "green", "green")
    scene.record_call(FIND, {"kind": "green"}, "success", rows)
    return scene


def test_marked_values_become_holes() -> None:
    template = template_of(
        "Try Sencha at $9.",
        [SpokenValue("name", "Sencha"), SpokenValue("price", "$9")],
        found(SENCHA),
    )
    holes = (Placeholder("name", "row", "Sencha"), Placeholder("price", "row", "$9"))
    assert template == Template(("Try ", holes[0], " at ", holes[1], "."))


def test_values_without_marks_are_found_by_their_words() -> None:
    template = template_of("A Green one from uji.", [], found(SENCHA))
    assert template is not None
    assert {part.slot for part in template.parts if isinstance(part, Placeholder)} == {
        "kind",
        "origin",
    }


def test_the_number_of_results_becomes_a_placeholder() -> None:
    template = template_of("I have 2: Sencha?", [], found(SENCHA, GYOKURO))
    assert template is not None
    assert Placeholder("", "count", "2") in template.parts


@pytest.mark.parametrize("text", ["Only 7 left.", "Sencha or Gyokuro?"])
def test_a_reply_whose_values_cannot_be_taken_out_is_left_alone(text: str) -> None:
    marked = [SpokenValue("name", name) for name in ("Sencha", "Gyokuro") if name in text]
    assert template_of(text, marked, found(SENCHA, GYOKURO)) is None


def test_a_template_takes_the_values_of_another_conversation() -> None:
    template = Template(
        ("Try ", Placeholder("name", "row", "Sencha"), " at ", Placeholder("price", "row", "$9"))
    )
    assert (
        TemplateFiller(found({**GYOKURO, "price": "1300"})).fill(template)
        == "Try Gyokuro at $1,300"
    )


def test_a_value_out_of_reach_leaves_nothing_to_say() -> None:
    template = Template(("On ", Placeholder("day", "argument", "March 8th")))
    assert TemplateFiller(found(SENCHA)).fill(template) is None


def test_a_slot_of_similar_name_and_kind_fills_the_placeholder() -> None:
    template = Template((Placeholder("shop_name", "row", "Blue Pot"),))
    assert TemplateFiller(found({"tea_name": "Oolong", "stock": "4"})).fill(template) == "Oolong"
    template = Template((Placeholder("shop_name", "row", "12"),))
    assert TemplateFiller(found({"tea_name": "Oolong"})).fill(template) is None


def test_two_placeholders_take_two_slots() -> None:
    template = Template(
        (Placeholder("shop_name", "row", "Pot"), " ", Placeholder("town_name", "row", "Hill"))
    )
    assert (
        TemplateFiller(found({"tea_name": "Oolong", "pot_name": "Kyusu"})).fill(template)
        == "Oolong Kyusu"
    )


def test_the_number_of_results_is_said_only_after_a_call() -> None:
    template = Template(("I have ", Placeholder("", "count", "3")))
    scene = found(SENCHA, GYOKURO)
    assert TemplateFiller(scene).fill(template) == "I have 2"
    scene.has_called = False
    assert TemplateFiller(scene).fill(template) is None


def test_yes_and_no_are_never_said_as_true_and_false() -> None:
    template = Template((Placeholder("wrapped", "row", "True"),))
    assert TemplateFiller(found({"wrapped": "True"})).fill(template) is None
