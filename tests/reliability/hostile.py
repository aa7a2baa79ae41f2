"""Actions that an agent under optimisation, a broken model or an enemy may send."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.types import Action, Completion, DialogueAct, ToolCall

MEGABYTE = "All work and no play. " * 50_000

TEXTS: tuple[str, ...] = (
    "", " ", "\0", "Hello.", "Grüße \U0001f375", "日本語", "\u202eabc\u202c", "\ufeff", "\u2028",
    "a\ud800", "\udfff\ud800", "\ud83c\udf75", "\x1b[31m\x07", "{0.__class__}", "%s%n", "{{7*7}}",
    "__import__('os').system('true')", "'; DROP TABLE users; --", "<script>alert(1)</script>",
    '"}]', "\\", "\\ud800", "e\u0301" * 50, "x" * 65_536, "x" * 65_537, "é" * 65_537, "\0" * 65_536,
    MEGABYTE, "\U0001f375" * 300_000, "\ud800" * 100_000, "<tool_call>" * 1000,
    '<tool_call>{"name": "x"}</tool_call>', "<tool_call>", "</tool_call>", "\n" * 1000,
)  # fmt: skip
"""The rarer kinds of text; none of them is short of a reason."""

VALUES: tuple[str, ...] = (
    "null", "true", "7", "-0", "1e308", "1e999", "-1e999", "NaN", "Infinity", "9" * 30,
    "9" * 10_000, "0.1", "[]", "{}", '""', '"dontcare"', '"True"', '"\\ud800"', '"\\u0000"',
    '"\ud800"', f'"{"x" * 300}"', "[" * 31 + "]" * 31, "[" * 500 + "]" * 500, "[" * 60_000,
    '{"a":' * 40 + "1" + "}" * 40, '{"__class__": "os.system"}', '"2019-02-30"', '"25:99"',
    '"next 99999th"', f'"${"9" * 200}"',
)  # fmt: skip
"""JSON values and what only looks like one."""

_ACTS = (
    "REQUEST", "OFFER", "CONFIRM", "INFORM", "INFORM_COUNT", "NOTIFY_SUCCESS", "NOTIFY_FAILURE",
    "OFFER_INTENT", "REQ_MORE", "REQ_MORE", "SELECT", "NONSENSE", "",
)  # fmt: skip
_NO_ACTS: tuple[Any, ...] = (
    None, 7, "GOODBYE", [7], [[]], [["INFORM", "city", 7]], [["INFORM", "city", "\ud800"]], {1},
    [["INFORM"] * 4], [object()], [10**5000], [float("nan")], {"act": "GOODBYE"},
    [[["REQUEST"]]], [["REQUEST", "city", "x" * 1_000_000]],
)  # fmt: skip

NAMES: tuple[str, ...] = (
    "", "x", "__class__", "self", "__init__", "../../etc/passwd", "a" * 256, "a" * 257, "\0", "-",
    "Ünïcode", "NoSuch_1-Tool", "get_state", "recorded_action",
)  # fmt: skip


class Sent(NamedTuple):
    """An object sent as an action, and whether it is a valid action."""

    action: Any
    is_action: bool


class Hostile:
    """Generator of hostile actions; equal seeds give equal actions.

    Args:
        seed: seed of the draws.
        sample: function that draws a member of the action space.
    """

    def __init__(self, seed: int, sample: Callable[[], dict[str, str]]) -> None:
        self._random = random.Random(seed)
        self._sample = sample
        self._tools: list[dict[str, Any]] = []

    def offer(self, tools: str) -> None:
        """Take in the tools on offer, so that calls can be nearly right."""
        self._tools = [tool["function"] for tool in json.loads(tools)]

    def draw(self) -> Sent:
        """Draw an action."""
        kinds = (self._plain, self._call, self._call, self._mutated, self._space, self._form)
        if self._random.random() < 0.03:
            return Sent(self._random.choice(_NO_ACTIONS), False)
        return Sent(self._random.choice(kinds)(), True)

    def tool_calls(self) -> str:
        """Draw a text for an action's ``tool_calls``, mostly JSON."""
        calls = [self._one_call() for _ in range(self._random.choice((1, 1, 1, 2, 4, 5, 16, 17)))]
        text = f"[{','.join(calls)}]"
        return self._mutate(text) if self._random.random() < 0.1 else text

    def _plain(self) -> dict[str, str]:
        return {"text": self._text(), "tool_calls": ""}

    def _call(self) -> dict[str, str]:
        text = self._text() if self._random.random() < 0.3 else ""
        return {"text": text, "tool_calls": self.tool_calls()}

    def _mutated(self) -> dict[str, str]:
        return {"text": "", "tool_calls": self._mutate(self.tool_calls()[:4000])}

    def _space(self) -> dict[str, str]:
        return self._sample()

    def _form(self) -> Any:
        """Send the same in one of the looser forms."""
        text, call = self._text(), ToolCall(self._name(), {"x": self._text()[:100]})
        forms: tuple[Any, ...] = (
            text,
            np.str_(text[:1000]),
            f"{text}<tool_call>{self._one_call()}</tool_call>",
            Action(text, (call,) * self._random.randrange(20)),
            Action(text, (), Completion(text)),
            {"text": text, "tool_call": {"name": call.name, "arguments": call.arguments}},
            {"text": text, "tool_call": None},
            {"text": None, "tool_calls": [call, {"name": 7}, 7, None, object()]},
            {"role": "assistant", "content": text, "tool_calls": [{"function": {"name": "x"}}]},
            [{"content": [{"text": text}, {"image": 7}]}, {"content": None}],
            {"text": "", "tool_calls": [_cycle()]},
        )
        return self._random.choice(forms)

    def _text(self) -> str:
        draw = self._random.random()
        if draw < 0.5:
            return "Is there anything else that I can do for you?"
        if draw < 0.51:
            return MEGABYTE
        if draw < 0.8:
            return "".join(map(chr, self._random.choices(range(0x11000), k=20)))
        return self._random.choice(TEXTS)

    def _name(self) -> str:
        if not self._tools or self._random.random() < 0.2:
            return self._random.choice(NAMES)
        name: str = self._random.choice(self._tools)["name"]
        return name.rpartition("-")[2] if self._random.random() < 0.2 else name

    def _one_call(self) -> str:
        if self._tools and self._random.random() < 0.9:
            function = self._random.choice(self._tools)
            name, arguments = json.dumps(function["name"]), self._arguments(function)
            return f'{{"name": {name}, "arguments": {arguments}}}'
        arguments = self._random.choice(VALUES)
        return f'{{"name": {json.dumps(self._name())}, "arguments": {arguments}}}'

    def _arguments(self, function: dict[str, Any]) -> str:
        parameters = function["parameters"]
        pairs = [
            f"{json.dumps(name)}: {self._value(schema)}"
            for name, schema in parameters["properties"].items()
            if name in parameters["required"] or self._random.random() < 0.4
        ]
        if self._random.random() < 0.1:
            pairs.append(f"{json.dumps(self._name())}: {self._random.choice(VALUES)}")
        if self._random.random() < 0.05:
            pairs += pairs
        return f"{{{', '.join(pairs)}}}"

    def _value(self, schema: dict[str, Any]) -> str:
        if self._random.random() < 0.06:
            return self._random.choice(VALUES)
        allowed = schema.get("enum", ("2019-03-05", "17:30", "2", "Lyon", "dontcare", "True"))
        return json.dumps(self._random.choice(allowed))

    def _mutate(self, text: str) -> str:
        characters = list(text)
        for _ in range(self._random.randrange(1, 6)):
            place = self._random.randrange(len(characters) + 1)
            new = self._random.choice(
                ('"', "{", "}", "[", "]", ",", ":", "\\", "\0", "é", "\ud800", "9")
            )
            cut = self._random.choice((0, 1, 1, 5))
            characters[place : place + cut] = [new] if self._random.random() < 0.7 else []
        return "".join(characters)


class HostileToUser(Hostile):
    """Generator of hostile actions against a simulated user, with acts of every kind.

    A part of the turns is the acts oracle's, so that the dialogue gets on to bookings.

    Args:
        seed: seed of the draws.
        env: the environment under attack.
    """

    def __init__(self, seed: int, env: SGDSimEnv) -> None:
        super().__init__(seed, env.action_space.sample)
        self._env = env
        self._oracle = ActsOraclePolicy(env)
        self._calling = False

    def offer(self, tools: str) -> None:
        """Take in the tools of a new dialogue."""
        super().offer(tools)
        self._oracle.reset()
        self._calling = False

    def draw(self) -> Sent:
        """Draw an action."""
        if self._calling or self._random.random() < 0.4:
            action = self._oracle.act(self._env.simulation.begin()[0])
            self._calling = bool(action.tool_calls) and not action.text
            if action.acts and self._random.random() < 0.2:
                action = msgspec.structs.replace(action, acts=(*action.acts, *self._acts()))
            return Sent(action, True)
        sent = super().draw()
        if not sent.is_action or self._random.random() < 0.3:
            return sent
        action = sent.action
        if isinstance(action, Action):
            return Sent(msgspec.structs.replace(action, acts=self._acts()), True)
        if type(action) is dict:
            acts = self._acts() if self._random.random() < 0.9 else self._random.choice(_NO_ACTS)
            return Sent({**action, "acts": acts}, True)
        return sent

    def _acts(self) -> tuple[DialogueAct, ...]:
        size = self._random.choice((1, 1, 2, 3, 5, 30, 300))
        return tuple(self._act() for _ in range(size))

    def _act(self) -> DialogueAct:
        slots = [slot for tool in self._tools for slot in tool["parameters"]["properties"]]
        slot = self._random.choice(slots or ["x"]) if self._random.random() < 0.9 else self._name()
        act = self._random.choice(_ACTS) if self._random.random() < 0.95 else self._text()
        return DialogueAct(act, slot, self._act_value())

    def _act_value(self) -> str:
        draw = self._random.random()
        if draw < 0.4:
            said: list[str] = [act.value for act in self._env.user_acts()]
            return self._random.choice(said or [""])
        if draw < 0.8:
            rows = self._env.simulation.state().user.rows
            return self._random.choice([value for row in rows for value in row.values()] or ["7"])
        return self._random.choice(VALUES) if draw < 0.99 else self._text()


def _cycle() -> dict[str, Any]:
    call: dict[str, Any] = {"name": "x"}
    call["arguments"] = call
    return call


_NO_ACTIONS: tuple[Any, ...] = (
    None, 7, 0.5, True, b"bytes", object(), {1, 2}, np.zeros(3), {}, {"reply": "Hi"}, {"text": 7},
    {"text": "", "tool_calls": 7}, ["Hi"], [7],
    {"role": "user", "content": "Hi"}, [{"role": "system", "content": "Hi"}], {"content": 7}, print,
)  # fmt: skip
