"""A server whose chat template shows the model no tools, found out by the usage that it reports."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from agent_gym_env.errors import LMError
from agent_gym_env.lm.base import LanguageModel, Request, Response

_log = logging.getLogger(__name__)


class ToolCheck:
    """Compares, once, the prompt tokens of a request with those of the same without tools.

    Only a server of one's own is asked: providers know tools, and charge for questions.

    Args:
        model: answers the requests.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._is_open = bool(getattr(model, "is_own_server", False))

    def look(self, request: Request, response: Response) -> None:
        """Log a warning if the server has left the tools of a request out of its prompt.

        Args:
            request: with tools.
            response: the server's; one that tells no usage, or needed several tries, says nothing.
        """
        if not self._is_open or not request.tools or not _tells_tokens(response):
            return
        self._is_open = False
        bare = msgspec.structs.replace(request, tools=(), max_tokens=1)
        try:
            without = self._model.complete(bare)
        except LMError:
            return
        if not _tells_tokens(without) or response.usage is None or without.usage is None:
            return
        tokens = response.usage.prompt_tokens, without.usage.prompt_tokens
        if tokens[0] - tokens[1] < _fewest_tokens(request.tools):
            _log.warning(
                "the server of %s seems to leave tools out of its prompt: %d tokens with %d tools, "
                "%d without any. Give it a chat template that knows tools, or have them written "
                'into the system message: "native_tools": false',
                self._model.name,
                tokens[0],
                len(request.tools),
                tokens[1],
            )


def _tells_tokens(response: Response) -> bool:
    tokens = response.usage.prompt_tokens if response.usage else 0
    return tokens > 0 and response.attempts == 1


def _fewest_tokens(tools: Any) -> int:
    """Count the names of tools and arguments: no template shows them in fewer tokens."""
    parameters = (tool["function"].get("parameters") or {} for tool in tools)
    return len(tools) + sum(len(each.get("properties") or {}) for each in parameters)
