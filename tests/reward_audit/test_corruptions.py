from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.reward_audit.answers import Corruption, Reply, best_constant_bag, corruptions
from agent_gym_env.types import ToolCall
from tests.corpus.cafes import BOOK, FIND, TOOLS

SEARCH = RecordedCall(FIND, {"city": "Lund"}, "success", '[{"name":"Onda","city":"Lund"}]')
TASK = Task(
    "1_00000",
    ("Cafes_1",),
    (
        Turn(
            "A cafe in Lund?",
            "There is Onda in Lund, open until 10.",
            "Cafes_1",
            SEARCH,
            (SpokenValue("city", "Lund"), SpokenValue("name", "Onda")),  # not in order
        ),
        Turn("Thanks", "Goodbye, and enjoy Onda!", "Cafes_1"),
    ),
    "2019-03-01",
)
OTHER = Task(
    "1_00001",
    ("Cafes_1",),
    (
        Turn(
            "Elsewhere?",
            "Try Bryggan in Malmo.",
            "Cafes_1",
            None,
            (SpokenValue("name", "Bryggan"), SpokenValue("city", "Malmo")),
        ),
    ),
    "2019-03-01",
)


@pytest.fixture(scope="module")
def panel() -> Mapping[str, Corruption]:
    return corruptions([TASK, OTHER], TOOLS, lambda word: 1.0)


@pytest.fixture
def corrupt(panel: Mapping[str, Corruption]) -> Callable[[str, int], Reply]:
    return lambda name, index: panel[name](TASK, index, np.random.default_rng(0))


def test_wrong_values_replace_every_value_by_another_of_its_slot(
    corrupt: Callable[[str, int], Reply],
) -> None:
    text = corrupt("target with wrong values", 0).text
    assert text == "There is Bryggan in Malmo, open until 10."


def test_a_slot_with_one_known_value_gets_a_value_of_no_slot() -> None:
    panel = corruptions([TASK], TOOLS, lambda word: 1.0)
    reply = panel["target with wrong values"](TASK, 0, np.random.default_rng(0))
    assert reply.text == "There is something else in something else, open until 10."


def test_a_target_is_negated(corrupt: Callable[[str, int], Reply]) -> None:
    assert corrupt("target negated", 0).text == "There is not Onda in Lund, open until 10."
    assert corrupt("target negated", 1).text == "not Goodbye, and enjoy Onda!"


def test_a_shuffled_target_keeps_its_words(corrupt: Callable[[str, int], Reply]) -> None:
    text = corrupt("target shuffled", 0).text
    assert sorted(text.split()) == sorted(TASK.turns[0].text.split())
    assert text != TASK.turns[0].text


def test_values_are_said_alone(corrupt: Callable[[str, int], Reply]) -> None:
    assert corrupt("values of the target", 0).text == "Lund Onda"
    assert corrupt("values and stop words", 0).text.startswith("Lund Onda the ")


def test_the_latest_results_are_said_in_every_turn(corrupt: Callable[[str, int], Reply]) -> None:
    assert corrupt("values of the results", 0).text == "Onda Lund"
    assert corrupt("values of the results", 1).text == "Onda Lund"


def test_the_recorded_call_is_made_where_there_is_one(
    corrupt: Callable[[str, int], Reply],
) -> None:
    assert corrupt("target three times", 0).calls == ()
    with_call = corrupt("target three times, with its call", 0)
    assert with_call.calls == (ToolCall(FIND, {"city": "Lund"}),)
    assert with_call.text == corrupt("target three times", 0).text
    assert corrupt("target three times, with its call", 1).calls == ()


def test_tools_are_called_without_arguments(corrupt: Callable[[str, int], Reply]) -> None:
    assert corrupt("every tool each turn", 1).calls == (ToolCall(FIND), ToolCall(BOOK))
    assert corrupt("first tool each turn", 1).calls == (ToolCall(FIND),)
    assert corrupt("right tool without arguments", 0).calls == (ToolCall(FIND),)
    assert corrupt("right tool without arguments", 1).calls == ()


def test_echoes_say_what_was_seen_and_nothing_of_the_target(
    corrupt: Callable[[str, int], Reply],
) -> None:
    assert corrupt("echo of the user", 0).text == "A cafe in Lund?"
    assert corrupt("echo of the conversation", 1).text == (
        "A cafe in Lund? There is Onda in Lund, open until 10. Thanks"
    )
    assert '"name":"Cafes_1-FindCafe"' in corrupt("echo of the schema", 0).text


def test_a_megabyte_holds_every_word(corrupt: Callable[[str, int], Reply]) -> None:
    text = corrupt("1 MB of text", 0).text
    assert len(text) == 2**20
    assert {"onda", "goodbye", "malmo"} <= set(text[:500].split())


def test_the_best_bag_adds_words_while_they_pay() -> None:
    # Alone, "a" earns (1/2 + 1/2 + 0) / 3; with "b", (1 + 1/3 + 0) / 3; with "c" too, less.
    assert set(best_constant_bag(["a b", "a c", "d"], lambda word: 1.0).split()) == {"a", "b"}


def test_the_best_bag_follows_the_weights_of_words() -> None:
    weights = {b"a": 1.0, b"b": 1.0, b"d": 9.0}
    assert best_constant_bag(["a b", "d"], weights.__getitem__) == "d"


def test_no_texts_make_an_empty_bag() -> None:
    assert best_constant_bag(["", "!"], lambda word: 1.0) == ""


def test_the_same_seed_gives_the_same_replies(panel: Mapping[str, Corruption]) -> None:
    for name, corrupt in panel.items():
        first, second = (corrupt(TASK, 0, np.random.default_rng(7)) for _ in range(2))
        assert first == second, name
