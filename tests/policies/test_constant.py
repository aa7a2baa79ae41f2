import pytest

from agent_gym_env.policies.constant import ConstantPolicy, best_constant_text
from agent_gym_env.types import Action

OBSERVATION = {"user": "Hi", "tool_result": "", "messages": "[]", "tools": "[]"}


def test_it_says_its_text_and_calls_nothing() -> None:
    assert ConstantPolicy("Good day.").act(OBSERVATION) == Action(text="Good day.")


def test_the_empty_text_is_called_silent() -> None:
    assert ConstantPolicy("").name == "silent"
    assert ConstantPolicy("Yes.").name == "constant"
    assert ConstantPolicy("", name="mute").name == "mute"


def test_of_equal_replies_all_words_are_taken() -> None:
    assert sorted(best_constant_text(["Good bye", "bye, good"]).split()) == ["bye", "good"]


def test_a_word_that_lowers_the_mean_is_left_out() -> None:
    # "yes": mean 1; with "sir" (1/2 + 1/2 + 1) / 3.
    assert best_constant_text(["yes", "yes", "yes sir"]) == "yes"


def test_the_words_that_pay_most_are_taken() -> None:
    # {a}: (1/1 + 1/2 + 0) / 3 = 1/2; {a, b} earns the same: (1/2 + 1 + 0) / 3 = 1/2.
    assert best_constant_text(["a", "a b", "c"]) == "a"


def test_at_most_so_many_words_are_taken() -> None:
    assert len(best_constant_text(["a b c d e"], max_words=3).split()) == 3


@pytest.mark.parametrize("replies", [["?"], ["", "!"]])
def test_replies_without_words_leave_nothing_to_say(replies: list[str]) -> None:
    assert best_constant_text(replies) == ""
