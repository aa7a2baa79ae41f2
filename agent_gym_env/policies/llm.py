"""The policy that asks a language model."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from agent_gym_env.chat import Message, functions_of, tool_names
from agent_gym_env.errors import LMError
from agent_gym_env.lm.base import LanguageModel, Request, Response
from agent_gym_env.lm.open_model import ModelConfig, open_model
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.prompt import RULES, CallIds, as_text, in_front, system_message
from agent_gym_env.types import Action, AtLeast1, FromZero, Observation, Usage

_log = logging.getLogger(__name__)

SGD_DATE = "2019-03-01"
"""Date of every dialogue in SGD, which is not in the observation."""


class LLMPolicy:
    """Acts by the answers of a language model.

    Words beside calls are not said, because a model that calls a tool continues after the result.
    They are kept in the action's completion.

    Args:
        model: a model, its name, or a mapping as in `agent_gym_env.lm.open_model.ModelOptions`;
            ``None`` for `agent_gym_env.lm.base.default_model`.
        native_tools: whether tools are sent by the provider's protocol. Otherwise they are written
            into the system message. Calls in the text of an answer are parsed in both cases.
        rules: system message, in which ``{today}`` is replaced by the date.
        date: date of the dialogues, ISO.
        temperature: sampling temperature; ``None`` for the provider's default, which Google
            recommends for Gemini.
        max_tokens: largest number of tokens of an answer, reasoning included; ``None`` for the
            provider's default.
        send_seed: whether an episode's seed is sent to the provider. Not every provider accepts it.
        extra: further parameters of the request, by the provider's names.
        name: name in reports; by default ``llm:`` and the model's name.
    """

    def __init__(
        self,
        model: ModelConfig | None = None,
        *,
        native_tools: bool = True,
        rules: str = RULES,
        date: str | None = SGD_DATE,
        temperature: FromZero | None = None,
        max_tokens: AtLeast1 | None = None,
        send_seed: bool = False,
        extra: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> None:
        lm = self.lm = open_model(model)
        self.name = name or f"llm:{lm.name}"
        self.native_tools = native_tools
        self._rules = rules
        self._today = _date(date)
        self._temperature = temperature
        self._max_tokens = max_tokens
        self._send_seed = send_seed
        self._extra = extra or {}
        self._seed: int | None = None
        self._ids = CallIds()
        self._tool_check = ToolCheck(lm)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode."""
        self._seed = seed if self._send_seed else None

    def act(self, observation: Observation) -> Action:
        """Ask the model.

        Raises:
            LMError: the model did not answer.
        """
        messages, tools = _read(observation)
        request = self._request(messages, tools, self._seed)
        response = self._tool_check.look(request, self.lm.complete(request))
        return self._action(messages, tools, response)

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        """Ask about several conversations at once.

        Args:
            observations: observations, each of another episode.
            seeds: seeds of these episodes, sent only with ``send_seed``.

        Raises:
            LMError: a request failed; the first such error.
        """
        read = [_read(observation) for observation in observations]
        if seeds is None or not self._send_seed:
            seeds = [None] * len(read)
        requests = [
            self._request(messages, tools, seed)
            for (messages, tools), seed in zip(read, seeds, strict=True)
        ]
        outcomes = self.lm.complete_many(requests)
        actions = []
        for (messages, tools), request, outcome in zip(read, requests, outcomes, strict=True):
            if isinstance(outcome, LMError):
                raise outcome
            response = self._tool_check.look(request, outcome)
            actions.append(self._action(messages, tools, response))
        return actions

    def _request(
        self, messages: list[Message], tools: list[dict[str, Any]], seed: int | None
    ) -> Request:
        conversation = self._ids.restore(messages) if self.native_tools else as_text(messages)
        described = () if self.native_tools else tools
        return Request(
            messages=in_front(system_message(self._rules, self._today, described), conversation),
            tools=tools if self.native_tools else (),
            temperature=self._temperature,
            max_tokens=self._max_tokens,
            seed=seed,
            extra=self._extra,
        )

    def _action(
        self, messages: list[Message], tools: list[dict[str, Any]], response: Response
    ) -> Action:
        completion = response.completion()
        if response.tool_calls:
            self._ids.remember(messages, response.tool_call_ids)
            return Action(tool_calls=response.tool_calls, completion=completion)
        reply = parse_reply(response.text, tool_names(tools))
        text = "" if reply.tool_calls else reply.text
        return Action(text=text, tool_calls=reply.tool_calls, completion=completion)


def _read(observation: Observation) -> tuple[list[Message], list[dict[str, Any]]]:
    return msgspec.json.decode(observation["messages"]), msgspec.json.decode(observation["tools"])


def _date(text: str | None) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"date must be like 2019-03-01, not {text!r}") from error


class ToolCheck:
    """Finds out once whether a server leaves tools out of the prompt, by the usage that it reports.

    It compares the prompt tokens of a request with and without its tools.

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
