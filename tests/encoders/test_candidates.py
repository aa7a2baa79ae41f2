"""A candidate's row says what tells it from the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from agent_gym_env.encoders.candidates import FACTS, CandidateEncoder
from agent_gym_env.encoders.text import CachedEncoder, HashingEncoder
from agent_gym_env.types import Action, ToolCall
from tests.encoders.test_conversation import CONVERSATION, state_of


class Proposal(NamedTuple):
    """A candidate."""

    action: Action
    score: float


FIND_GREEN = Proposal(Action(tool_calls=(ToolCall("Teas_1-FindTea", {"kind": "green"}),)), 0.75)
DEAR = Proposal(Action(text="It is dear: 9."), 0.5)
AGAIN = Proposal(Action(text="There is sencha from Uji."), 0.25)
WHICH = Proposal(Action(text="Which one?"), 0.125)


def rows(*proposals: Proposal) -> list[dict[str, float]]:
    """The facts of candidates in the middle of a conversation."""
    state = state_of(*CONVERSATION)
    encoded = CandidateEncoder(CachedEncoder(HashingEncoder(4)), k=5).encode(state, proposals)
    assert encoded.dtype == np.float32
    assert (np.abs(encoded) <= 1).all()
    return [dict(zip(FACTS, row.tolist(), strict=False)) for row in encoded]


def test_calls_and_replies_are_told_apart() -> None:
    found = rows(FIND_GREEN, DEAR, WHICH)
    assert [row["is_call"] for row in found] == [1, 0, 0, 0, 0]
    assert [row["is_first_of_kind"] for row in found] == [1, 1, 0, 0, 0]
    assert [row["exists"] for row in found] == [1, 1, 1, 0, 0]


def test_scores_and_ranks_are_kept() -> None:
    found = rows(FIND_GREEN, DEAR)
    assert [row["score"] for row in found[:2]] == [0.75, 0.5]
    assert [row["rank"] for row in found[:2]] == [1.0, 0.5]


def test_words_of_the_user_and_of_results_are_counted() -> None:
    # "it is dear 9": the user said "is", "it" and "dear"; the first row has "9".
    dear = rows(DEAR)[0]
    assert (dear["user_words"], dear["result_words"]) == (0.75, 0.25)
    assert dear["length"] == pytest.approx(4 / 24)


def test_questions_are_known() -> None:
    assert [row["asks"] for row in rows(DEAR, WHICH)[:2]] == [0, 1]


def test_what_was_done_before_is_known() -> None:
    other = Proposal(Action(tool_calls=(ToolCall("Teas_1-FindTea", {"kind": "black"}),)), 0.5)
    assert [row["repeats"] for row in rows(FIND_GREEN, other, AGAIN, DEAR)[:4]] == [1, 0, 1, 0]


def test_no_candidates_are_rows_of_zeros() -> None:
    assert all(value == 0 for row in rows() for value in row.values())


def test_the_same_action_has_the_same_text_part_everywhere() -> None:
    state = state_of(*CONVERSATION)
    encoder = CandidateEncoder(CachedEncoder(HashingEncoder(4)), k=2)
    first = encoder.encode(state, [DEAR, WHICH])[:, len(FACTS) :]
    second = encoder.encode(state, [WHICH, DEAR])[:, len(FACTS) :]
    assert (first == second[::-1]).all()
