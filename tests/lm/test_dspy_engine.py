from __future__ import annotations

import copy
import threading

import pytest

from agent_gym_env.errors import TransientLMError
from agent_gym_env.lm.base import Response
from agent_gym_env.lm.scripted import ScriptedLM
from agent_gym_env.types import Usage

dspy = pytest.importorskip("dspy", reason="pip install -e '.[dspy]'")

from dspy import lm15  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM, recorded_answers  # noqa: E402


def test_a_call_of_dspy_is_a_request_of_ours() -> None:
    model = ScriptedLM(["Hello!"])
    lm = DSPyLM(model)
    asked = lm15.Request(
        model=lm.model,
        system="Be brief.",
        messages=(lm15.Message.user("Hi."),),
        config=lm15.Config(max_tokens=7, stop=(".",), temperature=0.5),
    )
    assert lm(request=asked).text == "Hello!"
    (request,) = model.requests
    assert list(request.messages) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi."},
    ]
    assert (request.temperature, request.max_tokens, request.stop) == (0.5, 7, (".",))
    assert request.sample == 0


def test_another_rollout_is_another_draw_and_the_same_one_the_same() -> None:
    model = ScriptedLM(["a", "b", "c"])
    lm = DSPyLM(model)
    lm.copy(rollout_id=4, temperature=1.0)("Hi.")
    lm.copy(rollout_id=4, temperature=1.0)("Hi.")
    lm("Hi.")
    assert [request.sample for request in model.requests] == [4, 4, 0]
    assert [request.temperature for request in model.requests] == [1.0, 1.0, None]


def test_dspy_keeps_no_answers_of_its_own() -> None:
    model = ScriptedLM(["a", "b"])
    lm = DSPyLM(model)
    assert (lm("Hi."), lm("Hi.")) == (["a"], ["b"])


def test_an_error_reaches_dspy_once_with_ours_as_its_cause() -> None:
    model = ScriptedLM([TransientLMError("down"), "late"])
    with pytest.raises(dspy.utils.exceptions.LMError) as raised:
        DSPyLM(model)("Hi.")
    assert isinstance(raised.value.__cause__, TransientLMError)
    assert len(model.requests) == 1


@pytest.mark.parametrize("name", ["openai/gpt-5", "o3", "gemini/gemini-3-pro-preview", "a/b/c"])
def test_the_name_of_a_model_means_nothing_to_dspy(name: str) -> None:
    lm = DSPyLM(ScriptedLM(["a"], name=name), temperature=0.0)
    assert lm("Hi.") == ["a"]


def test_a_copy_of_a_program_shares_the_model() -> None:
    model = ScriptedLM(["a"])
    copy.deepcopy(DSPyLM(model))("Hi.")
    assert len(model.requests) == 1


def test_answers_are_recorded_thread_by_thread() -> None:
    model = ScriptedLM(lambda request: Response("a", usage=Usage(3, 1)))
    lm = DSPyLM(model)
    with recorded_answers() as mine:
        lm("Hi.")
        other = threading.Thread(target=lm, args=("Hi.",))
        other.start()
        other.join()
    lm("Hi.")
    assert [answer.usage for answer in mine] == [Usage(3, 1)]
    assert len(model.requests) == 3


def test_usage_is_told_to_dspy() -> None:
    lm = DSPyLM(ScriptedLM([Response("a", usage=Usage(3, 1))]))
    with dspy.track_usage() as tracker:
        lm("Hi.")
    (total,) = tracker.get_total_tokens().values()
    assert (total["prompt_tokens"], total["completion_tokens"]) == (3, 1)
