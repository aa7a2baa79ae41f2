"""Detection of servers that leave tools out of the prompt, by the usage that they report."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from agent_gym_env.chat import functions_of
from agent_gym_env.errors import LMError
from agent_gym_env.lm.base import LanguageModel, Request, Response
from agent_gym_env.types import Usage

_log = logging.getLogger(__name__)


class ToolCheck:
    """Compares, once, the prompt tokens of a request with and without its tools.

    Only the user's own server is asked: providers support tools, and charge for requests.

    Args:
        model: answers the requests.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._is_open = bool(getattr(model, "is_own_server", False))

    def look(self, request: Request, response: Response) -> Response:
        """Log a warning if the server has left the tools of a request out of its prompt.

        Args:
            request: a request with tools.
            response: response of the server. One without usage, or after several tries, is ignored.

        Returns:
            The response; its usage and cost include the comparing request if one was sent.
        """
        if not self._is_open or not request.tools or not _tells_tokens(response):
            return response
        self._is_open = False
        try:
            without = self._model.complete(msgspec.structs.replace(request, tools=(), max_tokens=1))
        except LMError:
            return response
        if _tells_tokens(without):
            self._compare(request, _usage(response), _usage(without))
        return _billed(response, without)

    def _compare(self, request: Request, with_tools: Usage, without: Usage) -> None:
        if with_tools.prompt_tokens - without.prompt_tokens < _fewest_tokens(request.tools):
            _log.warning(
                "the server of %s seems to leave tools out of its prompt: %d tokens with %d tools, "
                "%d without any. Give it a chat template that supports tools, or have them written "
                'into the system message: "native_tools": false',
                self._model.name,
                with_tools.prompt_tokens,
                len(request.tools),
                without.prompt_tokens,
            )


def _billed(response: Response, question: Response) -> Response:
    """Add the usage and cost of the comparing request to those of a response."""
    usage, more = _usage(response), _usage(question)
    costs = [cost for cost in (response.cost_usd, question.cost_usd) if cost is not None]
    return msgspec.structs.replace(
        response,
        usage=Usage(
            usage.prompt_tokens + more.prompt_tokens,
            usage.completion_tokens + more.completion_tokens,
        ),
        cost_usd=sum(costs) if costs else None,
        attempts=response.attempts + question.attempts,
    )


def _usage(response: Response) -> Usage:
    return response.usage or Usage()


def _tells_tokens(response: Response) -> bool:
    return _usage(response).prompt_tokens > 0 and response.attempts == 1


def _fewest_tokens(tools: Any) -> int:
    """Count the names of tools and arguments: no template shows them in fewer tokens."""
    parameters = (function.get("parameters") or {} for function in functions_of(tools))
    return len(tools) + sum(len(each.get("properties") or {}) for each in parameters)
