"""A language model that answers from a script, for tests and examples without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from agent_gym_env.errors import LMError, PermanentLMError
from agent_gym_env.lm.base import Request, Response

Reply = str | Response | LMError
"""A text, a whole answer, or the error that the request ends with."""


class ScriptedLM:
    """A model that returns the given replies and records the requests in ``requests``.

    Args:
        replies: a reply for each request, in order, or a function from request to reply. When they
            are used up, requests fail with `PermanentLMError`.
        name: name of the model.

    Examples:
        >>> lm = ScriptedLM(["Hello!"])
        >>> lm.complete(Request([{"role": "user", "content": "Hi"}])).text
        'Hello!'
    """

    def __init__(
        self, replies: Iterable[Reply] | Callable[[Request], Reply], *, name: str = "scripted"
    ) -> None:
        self.name = name
        self.requests: list[Request] = []
        self._answer = replies if callable(replies) else _in_order(replies)
        self._lock = threading.Lock()

    def complete(self, request: Request) -> Response:
        """Return the next reply."""
        with self._lock:
            self.requests.append(request)
            reply = self._answer(request)
        if isinstance(reply, LMError):
            raise reply
        return Response(text=reply, model=self.name) if isinstance(reply, str) else reply

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Return a reply for each request, in order."""
        return [self._outcome(request) for request in requests]

    def close(self) -> None:
        """Do nothing."""

    def _outcome(self, request: Request) -> Response | LMError:
        try:
            return self.complete(request)
        except LMError as error:
            return error


def _in_order(replies: Iterable[Reply]) -> Callable[[Request], Reply]:
    remaining = iter(replies)

    def answer(request: Request) -> Reply:
        for reply in remaining:
            return reply
        raise PermanentLMError(
            "the script has no more replies; pass one for each request, or a function"
        )

    return answer
