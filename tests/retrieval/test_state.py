import pytest

from tests.retrieval.scenes import FIND, GYOKURO, ORDER, SENCHA, state, tools

ORDERING = {"name": "Sencha", "grams": "50"}


def test_what_the_user_said_fills_arguments() -> None:
    scene = state()
    scene.fill("Teas_1", "kind", "green", "green")
    assert scene.arguments(scene.tools.by_name[FIND]) == {"kind": "green"}


def test_a_transaction_spells_its_defaults_out_and_a_query_does_not() -> None:
    scene = state()
    assert scene.arguments(scene.tools.by_name[ORDER]) == {"wrapped": "False"}
    assert scene.arguments(scene.tools.by_name[FIND]) == {}


def test_a_required_argument_comes_from_the_row_that_was_offered() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA, GYOKURO])
    assert scene.arguments(scene.tools.by_name[ORDER])["name"] == "Sencha"


def test_what_the_user_said_goes_before_the_row() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA])
    scene.fill("Teas_1", "name", "Gyokuro", "gyokuro")
    assert scene.arguments(scene.tools.by_name[ORDER])["name"] == "Gyokuro"


def test_a_guess_fills_only_what_is_required_and_missing() -> None:
    scene = state()
    scene.add_guess("Teas_1", "grams", 0.2, "50")
    scene.add_guess("Teas_1", "wrapped", 0.4, "True")
    assert scene.guessed_arguments(scene.tools.by_name[ORDER]) == {
        "grams": "50",
        "wrapped": "False",
    }


def test_the_more_probable_guess_is_kept() -> None:
    scene = state()
    scene.add_guess("Teas_1", "grams", 0.4, "50")
    scene.add_guess("Teas_1", "grams", 0.2, "70")
    assert scene.guesses["Teas_1", "grams"].value == "50"


def test_only_a_changed_value_is_fresh() -> None:
    scene = state()
    scene.fill("Teas_1", "kind", "green", "green")
    scene.fresh = set()
    scene.fill("Teas_1", "kind", "green", "green one")
    assert not scene.fresh
    scene.fill("Teas_1", "kind", "black", "black")
    assert scene.fresh == {("Teas_1", "kind")}


def test_the_row_of_a_failed_transaction_is_a_counter_offer() -> None:
    scene = state()
    scene.record_call(ORDER, ORDERING, "failure", [{**ORDERING, "grams": "40"}])
    assert scene.arguments(scene.tools.by_name[ORDER])["grams"] == "40"


def test_a_reply_tells_which_row_the_conversation_is_about() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA, GYOKURO])
    scene.record_reply("How about Gyokuro?")
    assert scene.row["Teas_1"] is GYOKURO


def test_a_reply_that_names_all_rows_alike_changes_nothing() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA, GYOKURO])
    scene.go_to_next_row()
    scene.record_reply("A green one.")
    assert scene.row["Teas_1"] is GYOKURO


def test_going_on_ends_with_the_last_row() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA, GYOKURO])
    scene.go_to_next_row()
    assert scene.has_moved_on
    assert scene.next_row() is None
    scene.go_to_next_row()
    assert scene.row["Teas_1"] is GYOKURO


def test_a_refused_call_leaves_no_rows() -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA])
    scene.record_refused_call()
    assert (scene.has_called, scene.status, scene.rows) == (True, "error", ())


def test_a_call_of_an_unknown_tool_is_passed_over() -> None:
    scene = state()
    scene.record_call("Nowhere-Nothing", {}, "success", [])
    assert scene.last_call is None


@pytest.mark.parametrize("tool", tools().by_name)
def test_arguments_are_the_tools_own(tool: str) -> None:
    scene = state()
    scene.record_call(FIND, {"kind": "green"}, "success", [SENCHA])
    assert (
        scene.arguments(scene.tools.by_name[tool]).keys() <= scene.tools.by_name[tool].slots.keys()
    )
