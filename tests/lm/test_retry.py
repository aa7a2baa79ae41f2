from __future__ import annotations

import pytest

from agent_gym_env.lm.retry import Limits, wait_s
from agent_gym_env.lm.transport import Failure, failure_of_status

LIMITS = Limits(backoff_s=1.0, max_backoff_s=5.0, max_retry_after_s=30.0)
FAILURE = Failure("transient", "busy")


@pytest.mark.parametrize(("attempts", "most"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (9, 5.0)])
def test_waits_are_drawn_from_a_range_that_doubles_up_to_its_cap(
    attempts: int, most: float
) -> None:
    waits = [wait_s(LIMITS, FAILURE, attempts) for _ in range(500)]
    assert 0.0 <= min(waits) < 0.1 * most
    assert 0.9 * most < max(waits) <= most


@pytest.mark.parametrize(("asked", "least"), [(7.0, 7.0), (3600.0, 30.0)])
def test_a_wait_that_is_asked_for_comes_on_top_up_to_its_cap(asked: float, least: float) -> None:
    failure = Failure("transient", "busy", retry_after_s=asked)
    assert least <= wait_s(LIMITS, failure, 1) <= least + 1.0


@pytest.mark.parametrize("name", ["deadline_s", "attempt_timeout_s", "max_attempts", "concurrency"])
def test_limits_that_let_nothing_through_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        Limits(**{name: 0})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, "transient"), (429, "transient"), (500, "transient"), (503, "transient"),
     (529, "transient"), (200, "transient"), (400, "refused"), (404, "refused"), (413, "too_long"),
     (422, "refused"), (302, "refused"), (401, "refused_key"), (403, "refused_key")],
)  # fmt: skip
def test_a_status_says_what_to_do(status: int, kind: str) -> None:
    assert failure_of_status(status, "because").kind == kind


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "This model's maximum context length is 8192 tokens."),  # OpenAI, vLLM
        (400, "The decoder prompt is longer than the maximum model length of 8192."),  # vLLM
        (400, "The prompt (length 5000) exceeds max_model_len 4096"),  # SGLang
        (400, "The input token count exceeds the maximum number of tokens allowed"),  # Gemini
        (400, "prompt is too long: 210000 tokens > 200000 maximum"),  # Anthropic
        (400, "too many tokens: size limit exceeded by 100 tokens"),  # Cohere
        (400, "Please reduce the length of the messages or completion."),  # Groq
        (400, "Range of input length should be [1, 30720]"),  # Qwen
        (422, "`inputs` must have less than 4095 tokens. Given: 5000"),  # TGI
        (422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000"),  # TGI
        (500, "the request exceeds the available context size"),  # llama.cpp
    ],
)
def test_every_way_to_say_that_a_conversation_is_too_long_is_known(
    status: int, reason: str
) -> None:
    assert failure_of_status(status, reason).kind == "too_long"
    assert failure_of_status(429, reason).kind == "transient"


def test_gemini_answers_a_wrong_key_with_another_status() -> None:
    reason = '{"error": {"message": "API key not valid. Please pass a valid API key."}}'
    assert failure_of_status(400, reason).kind == "refused_key"


def test_an_empty_account_does_not_fill_by_waiting() -> None:
    assert failure_of_status(429, '{"code": "insufficient_quota"}').kind == "refused_key"
    assert failure_of_status(402, "Insufficient balance").kind == "refused_key"


def test_an_answer_that_cannot_be_read_may_be_whole_the_next_time() -> None:
    assert failure_of_status(422, "not JSON", unread=True).kind == "transient"


@pytest.mark.parametrize(
    ("header", "reason", "seconds"),
    [("7", "", 7.0), ("0.5", "", 0.5), (None, '"retryDelay": "34s"', 34.0), (None, "", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", "", None), ("-3", "", None), ("inf", "", None),
     ("nan", "", None)],
)  # fmt: skip
def test_how_long_to_wait_is_read(header: str | None, reason: str, seconds: float | None) -> None:
    assert failure_of_status(429, reason, header).retry_after_s == seconds
