"""A model made of rules that does better the more its prompt teaches it.

It knows by heart what was recorded at every point of a corpus's dialogues, but remembers only a
share of it: a little by itself, more with each demonstration in its prompt, and more with an
instruction that tells it to take care. Asked to write instructions, it writes that one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from agent_gym_env.corpus.corpus import Split
from agent_gym_env.corpus.tool_specs import tools_json
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.lm.prompt import json_lines, plain_messages
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.policies.dspy_module import tool_call_text
from agent_gym_env.reward_audit.answers import recorded_turns

CARE = "Take care to remember what was recorded."
AT_A_LOSS = "Hm, what do you mean?"

_OUTPUTS = re.compile(r"Your output fields are:\n((?:\d+\. .*\n?)*)")
_NAME = re.compile(r"\d+\. `(\w+)`")
_CONVERSATION = re.compile(
    r"\[\[ ## conversation ## \]\]\n\{.today.:.*?\}\n(.*?)\n\n\[\[ ## tools ## \]\]", re.DOTALL
)


class Pupil:
    """Answers the messages of a chat; of calls, demonstrations and instructions it keeps count.

    Args:
        known: what it knows by heart, see `recorded_steps`.
        remembers: share of the turns that it remembers by itself.
        per_demo: share more with each demonstration, of which four count.
        with_care: share more with the instruction.
    """

    def __init__(
        self,
        known: Mapping[str, tuple[str, str]],
        *,
        remembers: float = 0.3,
        per_demo: float = 0.1,
        with_care: float = 0.2,
    ) -> None:
        self._remembers = remembers
        self._per_demo = per_demo
        self._with_care = with_care
        self._known = known
        self._asked: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()

    def answer(self, messages: Sequence[dict[str, Any]], temperature: float | None = None) -> str:
        """Answer in the form that is asked for."""
        system, last = messages[0]["content"], messages[-1]["content"]
        listed = _OUTPUTS.search(system)
        assert listed is not None, system
        names = _NAME.findall(listed[1])
        self.tasks[names[-1]] += 1
        if "tool_call" in names:
            return _chat(self._step(messages, last, temperature))
        fields = {name: self._prose(name, messages) for name in names}
        return json.dumps(fields) if "JSON object" in last else _chat(fields)

    def _step(
        self, messages: Sequence[dict[str, Any]], last: str, temperature: float | None
    ) -> dict[str, str]:
        found = _CONVERSATION.search(last)
        assert found is not None, last
        conversation = found[1]
        demos = sum(message["role"] == "assistant" for message in messages[:-1])
        share = self._remembers + self._per_demo * min(demos, 4)
        if CARE in messages[0]["content"]:
            share += self._with_care
        draw = 0
        if temperature:
            self._asked[conversation] += 1
            draw = self._asked[conversation]
        response, call = AT_A_LOSS, ""
        if _fraction(f"{draw} {self._subject(conversation)}") < share:
            response, call = self._known.get(conversation, (response, call))
        return {"reasoning": "As far as I remember.", "response": response, "tool_call": call}

    def _subject(self, conversation: str) -> str:
        """Return what it remembers or does not: a point of a dialogue."""
        return conversation

    def _prose(self, name: str, messages: Sequence[dict[str, Any]]) -> str | dict[str, str]:
        if name == "module_advice":
            return {"agent.predict.predict": CARE}
        if "instruction" in name:
            return f"{CARE} (No. {_fraction(json.dumps(messages)):.3f})"
        return "Nothing of note."


class SimulationPupil(Pupil):
    """Plays simulated dialogues as the acts oracle does, if it remembers the dialogue.

    Args:
        steps: what it knows, see `simulated_steps`.
        shares: as those of `Pupil`, but of dialogues.
    """

    def __init__(self, steps: Mapping[str, tuple[str, str]], **shares: float) -> None:
        super().__init__(steps, **shares)

    def _subject(self, conversation: str) -> str:
        return conversation.partition("\n")[0]


def simulated_steps(corpus: str, splits: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return what the acts oracle does at each point of the simulated dialogues of some splits."""
    steps = {}
    for name in splits:
        env = SGDSimEnv(corpus, name)
        for index in env.selected:
            policy = ActsOraclePolicy(env)
            dialogue_id = env.split.dialogue_ids()[index]
            observation, _ = env.reset(options={"dialogue_id": dialogue_id})
            over = False
            while not over:
                action = policy.act(observation)
                calls = [tool_call_text(call) for call in action.tool_calls]
                step = ("", calls[0]) if calls else (action.text, "")
                steps[_point(observation["messages"][:-1])] = step
                observation, _, over, _, _ = env.step(action)
    return steps


def recorded_steps(splits: Sequence[Split]) -> dict[str, tuple[str, str]]:
    """Return what was done at each recorded point of some splits."""
    return dict(step for split in splits for step in _steps(split))


def _steps(split: Split) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each point where something is to be done, and what was done there."""
    for index in range(len(split)):
        task = split.task(index)
        for turn in recorded_turns(task, tools_json(split.tools, task.services)):
            closed = turn.closed
            if closed.calls:
                yield _point(turn.asked), ("", tool_call_text(closed.calls[0]))
            yield _point(closed.log), (closed.text, "")


def _point(log: str) -> str:
    return json_lines(plain_messages(msgspec.json.decode(f"{log}]")))


def _fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 16**8


def _chat(fields: dict[str, Any]) -> str:
    sections = [
        f"[[ ## {name} ## ]]\n{value if isinstance(value, str) else json.dumps(value)}"
        for name, value in fields.items()
    ]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])
