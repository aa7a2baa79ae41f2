"""The contract between the engine that asks, waits and counts, and one provider's library."""

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
"""What to do about a failure.

``transient``: may pass; ``refused_key``: the key, or the account behind it, is not accepted;
``no_credentials``: there is no key to send; ``too_long``: the conversation exceeds the model's
context; ``refused``: any other refusal.

What cannot be read (no choices, broken JSON, a web page) is transient: the next try may be whole.
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
    """One request that went over the wire and brought no answer.

    Attributes:
        kind: what to do about it.
        reason: in words; it may hold anything the provider sent, secrets included.
        status: of HTTP, where there is one.
        retry_after_s: how long the provider asks to wait.
        usage: tokens billed all the same.
        cost_usd: their cost.
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
    """One provider's library: sends one request once. It neither waits nor tries again.

    All calls come from one event loop.
    """

    name: str
    """The model, as reports show it."""

    identity: str
    """What else decides the answer beside the request: library, model, place. No secrets."""

    secrets: tuple[Secret, ...]
    """What must show nowhere."""

    price: Price | None
    """What tokens cost; ``None`` where that is not known."""

    is_own_server: bool
    """Whether a server of the user's own may serve the model, with any chat template."""

    async def send(self, request: Request) -> Response | Failure:
        """Ask once; what the library raises is given to `failure`."""

    def failure(self, error: BaseException) -> Failure:
        """Say what an exception of `send` means."""

    async def aclose(self) -> None:
        """Let go of connections."""


def failure_of_status(
    status: int, reason: str, retry_after: str | None = None, *, unread: bool = False
) -> Failure:
    """Classify an HTTP status.

    Args:
        status: of the response.
        reason: what the provider said.
        retry_after: the header of that name.
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
    """Read how long to wait; Gemini writes it into the body, and a date is not understood."""
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
