"""The agent as a DSPy program, and the policy that acts by one."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import msgspec

from agent_gym_env.corpus.disk import written_whole
from agent_gym_env.errors import DataError, LMError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import LanguageModel, Response
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.plain_messages import json_lines, plain_messages, plain_tools
from agent_gym_env.policies.llm import SGD_DATE
from agent_gym_env.types import Action, Completion, Observation, ToolCall, Usage

require("dspy", extra="dspy")

import dspy  # noqa: E402  (`require` first says where it comes from)
from dspy.adapters import ChatAdapter  # noqa: E402
from dspy.utils.exceptions import AdapterParseError  # noqa: E402

from agent_gym_env.lm.dspy_engine import DSPyLM, recorded_answers  # noqa: E402

MAX_PROGRAM_BYTES = 16 << 20
CONCURRENT_ACTIONS = 16

_decode_list = msgspec.json.Decoder(list[dict[str, Any]]).decode


class SGDAgent(dspy.Signature):  # type: ignore[misc]  # dspy is untyped
    """You assist a user in a conversation and can call tools on the user's behalf.

    Decide what to do now. Call a tool when the user's request needs one and all its required
    arguments are known; its result comes back to you before you answer. Otherwise answer the user:
    ask for what is missing, say what was found, or confirm what was done. A call that changes
    something is made only after the user has confirmed its arguments. Write dates as YYYY-MM-DD and
    times as HH:MM in arguments.
    """

    conversation: str = dspy.InputField(
        desc="the date, then what was said and done so far, one JSON record a line"
    )
    tools: str = dspy.InputField(desc="the tools on offer, one JSON record a line")
    response: str = dspy.OutputField(desc="words for the user; empty if a tool is called now")
    tool_call: str = dspy.OutputField(
        desc='the call to make now, as {"name": "...", "arguments": {...}}; empty for none'
    )


class SGDAgentModule(dspy.Module):  # type: ignore[misc]  # dspy is untyped
    """From a conversation and the tools on offer to reasoning, a response and a tool call."""

    def __init__(self) -> None:
        super().__init__()
        self.predict = dspy.ChainOfThought(SGDAgent)

    def forward(self, conversation: str, tools: str) -> dspy.Prediction:
        """Decide on the next step."""
        return self.predict(conversation=conversation, tools=tools)

    @property
    def instructions(self) -> str:
        """What the program tells the model to do."""
        text: str = self.predict.predict.signature.instructions
        return text

    @property
    def demos(self) -> list[dict[str, str]]:
        """The demonstrations in its prompt, field by field."""
        return [_demo(demo) for demo in self.predict.predict.demos]


_FIELDS = ("conversation", "tools", "reasoning", "response", "tool_call")


def _demo(demo: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(demo[name]) for name in _FIELDS if demo.get(name) is not None}


def program_inputs(observation: Observation, today: str) -> dict[str, str]:
    """Write an observation as the inputs of a program.

    Args:
        observation: of the environment.
        today: the dialogue's date, ISO, which the observation does not tell.
    """
    date = datetime.date.fromisoformat(today)
    said = plain_messages(_decode_list(observation["messages"]))
    return {
        "conversation": json_lines([{"today": f"{date:%A}, {today}"}, *said]),
        "tools": json_lines(plain_tools(_decode_list(observation["tools"]))),
    }


def program_action(prediction: dspy.Prediction, observation: Observation) -> Action:
    """Read what a program decided.

    Words beside a call are not said: they would end the turn before its result is there. A call
    that cannot be read is said as it is written.
    """
    names = [tool["function"]["name"] for tool in _decode_list(observation["tools"])]
    words, wanted = _text(prediction.response), _text(prediction.tool_call)
    # Inside the tag any name is a call's: the environment says which tools there are.
    calls = parse_reply(f"<tool_call>{wanted}</tool_call>", names).tool_calls if wanted else ()
    text = "" if calls else "\n".join(filter(None, (words, wanted)))
    return Action(text=text, tool_calls=calls)


def tool_call_text(call: ToolCall | None) -> str:
    """Write a call as a program does."""
    if call is None:
        return ""
    return msgspec.json.encode({"name": call.name, "arguments": call.arguments}).decode()


def _text(value: object) -> str:
    """Models write such words for nothing."""
    text = "" if value is None else str(value).strip()
    return "" if text.lower() in ("none", "null", "n/a", "{}", "[]", '""', "(empty)") else text


class DSPyPolicy:
    """Acts by a DSPy program.

    What a model writes in no form that DSPy can read is said to the user as it is.

    Args:
        program: decides; see `load_program` for one from a file.
        model: is asked.
        date: the dialogues' "today", ISO.
        temperature: of sampling; ``None`` for the provider's own.
        name: as reports show it; by default ``dspy:`` and the model's name.
    """

    def __init__(
        self,
        program: SGDAgentModule,
        model: LanguageModel,
        *,
        date: str = SGD_DATE,
        temperature: float | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or f"dspy:{model.name}"
        self.program = program
        self._date = date
        self._lm = DSPyLM(model, temperature=temperature)

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; nothing is drawn here."""

    def act(self, observation: Observation) -> Action:
        """Ask the program.

        Raises:
            LMError: the model does not answer.
        """
        with recorded_answers() as answers:
            action = self._decide(observation)
        return msgspec.structs.replace(action, completion=_completion(answers))

    def act_batch(self, observations: Sequence[Observation]) -> list[Action]:
        """Ask the program about several conversations at once."""
        with ThreadPoolExecutor(min(len(observations) or 1, CONCURRENT_ACTIONS)) as pool:
            asked = [pool.submit(copy_context().run, self.act, each) for each in observations]
            return [each.result() for each in asked]

    def _decide(self, observation: Observation) -> Action:
        settings = {"lm": self._lm, "adapter": ChatAdapter(), "disable_history": True}
        try:
            with dspy.context(**settings):
                prediction = self.program(**program_inputs(observation, self._date))
        except AdapterParseError as error:
            return Action(text=error.lm_response or "")
        except dspy.utils.exceptions.LMError as error:
            raise _our_error(error) from error
        return program_action(prediction, observation)


def _our_error(error: BaseException) -> BaseException:
    """Find the error that DSPy has wrapped."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, LMError):
        cause = cause.__cause__
    return cause or error


def _completion(answers: Sequence[Response]) -> Completion | None:
    """Add up what one action took; DSPy asks again where it cannot read an answer."""
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


class _Signature(msgspec.Struct):
    instructions: str


class _Predictor(msgspec.Struct):
    signature: _Signature
    demos: list[dict[str, Any]] = []


class _State(msgspec.Struct, rename={"predict": "predict.predict"}):
    predict: _Predictor


def save_program(program: SGDAgentModule, path: Path) -> None:
    """Write a program as DSPy does: its state as JSON, without any model or key.

    Raises:
        StorageError: the disk does not take it.
    """
    state = program.dump_state()
    predictor = state["predict.predict"]
    predictor.update(lm=None, traces=[], train=[])
    predictor["demos"] = [{"augmented": True, **demo} for demo in program.demos]
    metadata = {"dependency_versions": dspy.utils.saving.get_dependency_versions()}
    with written_whole(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode({**state, "metadata": metadata})))


def load_program(path: str | Path) -> SGDAgentModule:
    """Read a program: its instructions and demonstrations, and nothing else of the file.

    A file may come from anywhere. Models, keys, addresses and settings in it are not read, so it
    cannot make calls go elsewhere; nothing of it is executed.

    Raises:
        DataError: the file is no program of this package.
    """
    state = _read_state(Path(path))
    program = SGDAgentModule()
    predictor = program.predict.predict
    predictor.signature = predictor.signature.with_instructions(state.signature.instructions)
    predictor.demos = [dspy.Example(augmented=True, **_demo(demo)) for demo in state.demos]
    return program


def _read_state(path: Path) -> _Predictor:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_PROGRAM_BYTES + 1)
        if len(content) > MAX_PROGRAM_BYTES:
            raise DataError(f"a program has at most {MAX_PROGRAM_BYTES} bytes", file=str(path))
        return msgspec.json.decode(content, type=_State).predict
    except OSError as error:
        raise DataError(f"cannot read the program: {error.strerror}", file=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"this is no state of an SGDAgentModule, as JSON: {error}", file=str(path)
        ) from error
