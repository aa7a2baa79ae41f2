"""The contract between `RemoteLM`, which retries and counts, and one provider's library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, Protocol

import msgspec

from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.budget import Price
from agent_gym_env.lm.credentials import Secret
from agent_gym_env.types import Usage

FailureKind = Literal["transient", "refused_key", "no_credentials", "too_long", "refused"]
"""Kind of a failure, which decides what happens next.

``transient``: it may pass; ``refused_key``: the key, or the account behind it, is not accepted;
``no_credentials``: no key is set; ``too_long``: the conversation exceeds the model's
context; ``refused``: any other refusal.

Unreadable answers (no choices, broken JSON, a web page) are transient.
"""

_TRANSIENT_STATUSES = frozenset((408, 409, 425, 429))
_MAX_REASON = 4000

_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|exceed context limit|prompt is too long"
    r"|input is too long|maximum (?:context|input) length|maximum context limit"
    r"|maximum number of tokens allowed|input tokens exceed|longer than the model's"
    r"|exceed[^.]{0,40}context (?:window|length|size)"
    r"|context (?:window|length|size)[^.]{0,40}exceed|context_window_exceeded"
    r"|reduce the length of the (?:messages|prompt|input)|max_model_len|maximum model length"
    r"|`inputs`.{0,40} must (?:be <=|have less than)|range of input length should be"
    r"|too many tokens|prompt tokens limit exceeded|max message tokens",
    re.IGNORECASE,
)
"""Messages of OpenAI, Gemini, Anthropic, Cohere, vLLM, TGI and others for long conversations."""


class Failure(msgspec.Struct, frozen=True):
    """A request that was sent and not answered.

    Attributes:
        kind: kind of the failure.
        reason: reason in words. It may contain anything that the provider sent, even secrets.
        status: HTTP status; ``None`` if there was none.
        retry_after_s: seconds that the provider asks to wait.
        usage: tokens that were billed nevertheless.
        cost_usd: cost of those tokens.
        reached: whether the server answered at all.
    """

    kind: FailureKind
    reason: str
    status: int | None = None
    retry_after_s: float | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    reached: bool = True


class Transport(Protocol):
    """Adapter of one provider's library. It sends a request once and does not retry.

    All calls come from one event loop.
    """

    name: str
    """Name of the model that reports show."""

    identity: str
    """Library, model and address, which decide the answer beside the request. No secrets."""

    secrets: tuple[Secret, ...]
    """Secrets that must never be shown."""

    price: Price | None
    """Price of tokens; ``None`` if it is unknown."""

    is_own_server: bool
    """True if the user may run the server, which can then have any chat template."""

    async def send(self, request: Request) -> Response | Failure:
        """Send a request once; exceptions of the library are passed to `failure`."""

    def failure(self, error: BaseException) -> Failure:
        """Classify an exception of `send`."""

    async def aclose(self) -> None:
        """Close the connections."""


def failure_of_status(
    status: int, reason: str, retry_after: str | None = None, *, unread: bool = False
) -> Failure:
    """Classify an HTTP status.

    Args:
        status: status of the response.
        reason: the provider's explanation.
        retry_after: value of the header of that name.
        unread: whether the answer was broken, whatever its status.
    """
    kind: FailureKind = "refused"
    if unread or status in _TRANSIENT_STATUSES or status >= 500 or status < 300:
        kind = "transient"
    if status == 413 or (status in (400, 422, 500) and _TOO_LONG.search(reason)):
        kind = "too_long"
    if status in (401, 402, 403) or (status == 400 and _is_about_the_key(reason)):
        kind = "refused_key"
    if status == 429 and "insufficient_quota" in reason:
        kind = "refused_key"  # the account is empty; waiting does not fill it
    return Failure(kind, reason[:_MAX_REASON], status, _seconds(retry_after, reason))


def _is_about_the_key(reason: str) -> bool:
    """Gemini answers a wrong key with status 400."""
    return "API_KEY_INVALID" in reason or "API key not valid" in reason


def _seconds(header: str | None, reason: str) -> float | None:
    """Read how long to wait; Gemini writes it into the body. Dates are not supported."""
    if header is None:
        _, found, rest = reason.partition('"retryDelay":')
        header = rest.strip(' "').partition("s")[0] if found else ""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, the one that it was raised from, and so on to the first."""
    cause: BaseException | None = error
    seen: list[BaseException] = []
    while cause is not None and cause not in seen:
        yield cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
