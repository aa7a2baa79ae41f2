from __future__ import annotations

import pytest

from agent_gym_env.errors import PermanentLMError, TransientLMError
from agent_gym_env.lm.base import LanguageModel, Request, Response
from agent_gym_env.lm.scripted import ScriptedLM

REQUEST = Request([{"role": "user", "content": "Hi"}])


def test_replies_come_in_order_and_requests_are_kept() -> None:
    lm: LanguageModel = ScriptedLM(["one", Response("two", finish_reason="length")])
    assert [lm.complete(REQUEST).text for _ in range(2)] == ["one", "two"]
    assert isinstance(lm, ScriptedLM)
    assert lm.requests == [REQUEST, REQUEST]


def test_a_script_that_ends_says_so() -> None:
    with pytest.raises(PermanentLMError, match="no more replies"):
        ScriptedLM([]).complete(REQUEST)


def test_a_function_answers_what_it_is_asked() -> None:
    lm = ScriptedLM(lambda request: request.messages[0]["content"].upper())
    assert lm.complete(REQUEST).text == "HI"


def test_many_requests_end_each_with_its_answer_or_error() -> None:
    lm = ScriptedLM(["one", TransientLMError("busy"), "three"])
    outcomes = lm.complete_many([REQUEST] * 3)
    assert isinstance(outcomes[1], TransientLMError)
    assert [o.text for o in outcomes if isinstance(o, Response)] == ["one", "three"]
    lm.close()
