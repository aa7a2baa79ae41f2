"""Requests and answers of the server: their forms, and how a failure is told to a client.

A failure is ``{"error": {"code": …, "message": …}}``. The code is stable; the message says what was
found and what was expected.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from gymnasium.error import Error as GymnasiumError
from gymnasium.error import ResetNeeded

from agent_gym_env.errors import AgentGymError, DataError, LMError, MissingDependency, StorageError
from agent_gym_env.lm.lenient_json import nests_deeper
from agent_gym_env.server.session import Reply, SessionState

MAX_DEPTH = 64
"""Levels of lists and objects in a request."""


class Refused(Exception):  # noqa: N818  (an answer, as `HTTPException`)
    """A request that is answered by a failure.

    Args:
        message: what was found and what was expected.
        status: HTTP status.
        code: stable name of the kind of failure.
        retry_after_s: seconds after which the same request may succeed; ``None`` for never.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 422,
        code: str = "invalid",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """Return the failure as JSON values."""
        told: dict[str, Any] = {"code": self.code, "message": str(self)}
        if self.retry_after_s is not None:
            told["retry_after_s"] = self.retry_after_s
        return {"error": told}


_KINDS: tuple[tuple[type[Exception], int, str], ...] = (
    (ResetNeeded, 409, "reset_needed"),
    (MissingDependency, 501, "missing_dependency"),
    (DataError, 422, "data"),
    (StorageError, 507, "storage"),
    (LMError, 502, "language_model"),
    (AgentGymError, 500, "failed"),
    (GymnasiumError, 422, "invalid"),
    (ValueError, 422, "invalid"),
    (TypeError, 422, "invalid"),
)


@contextmanager
def told_to_client() -> Iterator[None]:
    """Turn the errors of this package, and those about arguments, into `Refused`."""
    try:
        yield
    except Refused:
        raise
    except tuple(kind for kind, _, _ in _KINDS) as error:
        status, code = next((s, c) for kind, s, c in _KINDS if isinstance(error, kind))
        raise Refused(str(error), status=status, code=code) from error


class OpenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="open"):
    """Request to open a session.

    Attributes:
        env: id of the environment.
        arguments: arguments of ``gymnasium.make``, with ``max_episode_steps``.
        keep: whether a snapshot is kept on disk after each step, so that the session can be
            restored after a crash or a lost connection.
    """

    env: str = "SGD-v0"
    arguments: dict[str, Any] = {}
    keep: bool = False


class RestoreBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="restore"):
    """Request to restore a session that was opened with ``keep``.

    Attributes:
        session: id of the session.
    """

    session: str


class ResetBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="reset"):
    """Request to begin an episode.

    Attributes:
        seed: seed of the generator that draws dialogues; ``None`` to draw the next one.
        options: ``{"dialogue_id": …}`` for a certain dialogue.
    """

    seed: int | None = None
    options: dict[str, Any] | None = None


class StepBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="step"):
    """Request to take an action.

    Attributes:
        action: text, ``{"text", "tool_calls"}``, or an assistant message in OpenAI's format.
    """

    action: Any


class StateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="state"):
    """Request for a snapshot (WebSocket)."""


class SetStateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="set_state"):
    """Request to return to a snapshot.

    Attributes:
        state: snapshot that the server has returned.
    """

    state: SessionState


class RenderBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="render"):
    """Request for the conversation as text or HTML (WebSocket)."""


class CloseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="close"):
    """Request to close the session (WebSocket)."""


ClientMessage = (
    OpenBody
    | RestoreBody
    | ResetBody
    | StepBody
    | StateBody
    | SetStateBody
    | RenderBody
    | CloseBody
)
"""Message of a client over WebSocket, told apart by its ``type``."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """A session is open.

    Attributes:
        session: id of the session.
        env: id of the environment.
        arguments: arguments with which it was opened.
        reply: last reply of a restored session; ``None`` before the first reset.
        steps: number of steps since the reset.
    """

    session: str
    env: str
    arguments: dict[str, Any]
    reply: Reply | None = None
    steps: int = 0


class Replied(msgspec.Struct, frozen=True, tag="reply"):
    """Answer to a reset, step or set_state over WebSocket.

    Attributes:
        reply: reply of the environment.
    """

    reply: Reply


class Snapshot(msgspec.Struct, frozen=True, tag="state"):
    """Answer with a snapshot.

    Attributes:
        state: the snapshot.
    """

    state: SessionState


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    """Answer with the conversation.

    Attributes:
        text: the conversation, as text or HTML.
    """

    text: str


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """The session is closed."""


_T = TypeVar("_T")


def read(body: bytes | str, kind: Any) -> Any:
    """Decode a request.

    Args:
        body: JSON text.
        kind: type to decode to.

    Raises:
        Refused: the text is not JSON, or not of this type; or nests deeper than `MAX_DEPTH`.
    """
    data = (body.encode() if isinstance(body, str) else body) or b"{}"
    try:
        may_be_deep = data.count(b"[") + data.count(b"{") > MAX_DEPTH
        if may_be_deep and nests_deeper(msgspec.json.decode(data), MAX_DEPTH):
            raise Refused(f"the request nests more than {MAX_DEPTH} levels")
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(f"the request does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the request is not JSON: {error}", status=400, code="not_json") from error
    except RecursionError as error:
        raise Refused(f"the request nests more than {MAX_DEPTH} levels") from error
