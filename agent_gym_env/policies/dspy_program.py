"""The policy that acts by a DSPy program."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import msgspec

from agent_gym_env.errors import LMError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, Response
from agent_gym_env.policies.dspy_module import SGDAgentModule, program_action, program_inputs
from agent_gym_env.policies.llm import SGD_DATE
from agent_gym_env.types import Action, Completion, FromZero, Observation, Usage

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.adapters import ChatAdapter  # noqa: E402
from dspy.utils.exceptions import AdapterParseError  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM, recorded_answers  # noqa: E402

CONCURRENT_ACTIONS = 16


class DSPyPolicy:
    """Acts by a DSPy program.

    An answer of the model that DSPy cannot parse is said to the user.

    Args:
        program: program, such as one that `load_program` read from a file.
        model: language model that the program asks.
        date: date of the dialogues, ISO.
        temperature: sampling temperature; ``None`` for the provider's default.
        name: name in reports; by default ``dspy:`` and the model's name.
    """

    def __init__(
        self,
        program: SGDAgentModule,
        model: LanguageModel,
        *,
        date: str | None = SGD_DATE,
        temperature: FromZero | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or f"dspy:{model.name}"
        self.program = program
        self._date = date
        self._lm = DSPyLM(model, temperature=temperature)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode. Nothing is random here."""

    def act(self, observation: Observation) -> Action:
        """Ask the program.

        Raises:
            LMError: the model did not answer.
        """
        with recorded_answers() as answers:
            action = self._decide(observation)
        return msgspec.structs.replace(action, completion=_completion(answers))

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        """Ask the program about several conversations at once. ``seeds`` has no effect."""
        with ThreadPoolExecutor(min(len(observations) or 1, CONCURRENT_ACTIONS)) as pool:
            asked = [pool.submit(copy_context().run, self.act, each) for each in observations]
            return [each.result() for each in asked]

    def _decide(self, observation: Observation) -> Action:
        settings = {"lm": self._lm, "adapter": ChatAdapter(), "disable_history": True}
        with dspy.context(**settings):
            return decide(self.program, observation, self._date)


def decide(program: SGDAgentModule, observation: Observation, date: str | None) -> Action:
    """Ask a program for an action, with the model and the adapter of DSPy's context.

    Args:
        program: the program.
        observation: observation of the unwrapped environment.
        date: date of the dialogue, ISO.

    Returns:
        The action. An answer of the model that DSPy cannot parse is its text.

    Raises:
        LMError: the model did not answer.
    """
    try:
        prediction = program(**program_inputs(observation, date))
    except AdapterParseError as error:
        return Action(text=error.lm_response or "")
    except dspy.utils.exceptions.LMError as error:
        raise _our_error(error) from error
    return program_action(prediction, observation)


def _our_error(error: BaseException) -> BaseException:
    """Return our error inside an error of DSPy, or that error itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LMError):
        cause = cause.__cause__
    return cause or error


def _completion(answers: Sequence[Response]) -> Completion | None:
    """Return the total usage of one action: DSPy asks again if it cannot parse an answer."""
    if not answers:
        return None
    usages = [answer.usage for answer in answers if answer.usage is not None]
    costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    return Completion(
        text=answers[-1].text,
        model=answers[-1].model,
        usage=Usage(
            sum(usage.prompt_tokens for usage in usages),
            sum(usage.completion_tokens for usage in usages),
        )
        if usages
        else None,
        cost_usd=sum(costs) if costs else None,
        latency_s=sum(answer.latency_s for answer in answers),
    )
