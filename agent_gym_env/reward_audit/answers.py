"""Answers to recorded turns: as recorded, with one mistake, and every known exploit of a reward."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import structs

from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.corpus.tool_specs import ToolSpec, tools_json
from agent_gym_env.rewards.base import ClosedTurn
from agent_gym_env.rollout.episode import Episode, StepRecord, TurnRecord, transcript
from agent_gym_env.types import Action, ToolCall
from agent_gym_env.values.equality import same_value, value_text
from agent_gym_env.values.words import words

_GOODBYE = "Thank you for calling, goodbye."
_CONSTANT = "I can do that for you. Is there something else that you would like me to find?"
_STOP_WORDS = "the a to you is for in at and of"
_OTHER_VALUE = "something else"
_OTHER_VALUE_TRIES = 20
_LONG_CHARS = 2**20
_BAG_CANDIDATES = 150
_BAG_MAX_WORDS = 40

_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|can|could|will|would|do|does|did|should|may)\b", re.I
)
_encode = msgspec.json.Encoder().encode

MAX_TEXT_CHARS = 64 * 1024
"""Length at which an environment cuts a text, so that a reward never sees a longer one."""


class Reply(NamedTuple):
    """An answer to one turn: the text, and the calls before it."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()


Corruption = Callable[[Task, int, np.random.Generator], Reply]
"""Function from a dialogue, the index of a turn and a random generator to a reply."""


class RecordedTurn(NamedTuple):
    """A turn of a corpus.

    Attributes:
        asked: conversation up to the user's words that open the turn, in the form of
            `ClosedTurn.log`.
        closed: the turn as it was recorded.
    """

    asked: str
    closed: ClosedTurn

    def answered(self, reply: Reply) -> ClosedTurn:
        """Return the turn with another reply; calls that were not recorded have no results."""
        text = reply.text[:MAX_TEXT_CHARS]
        if reply.calls == self.closed.calls:
            return structs.replace(self.closed, text=text)
        return structs.replace(self.closed, text=text, calls=reply.calls, log=self.asked)


def recorded_turns(task: Task, tools: str = "[]") -> Iterator[RecordedTurn]:
    """Yield the turns of a dialogue as they were recorded.

    Args:
        task: dialogue.
        tools: tools on offer, JSON in OpenAI's function format.
    """
    for index, messages in enumerate(transcript(_as_played(task))):
        turn = task.turns[index]
        closed = ClosedTurn(
            turn.text,
            recorded_calls(turn),
            turn,
            task.date,
            log=messages.log,
            tools=tools,
            index=index,
        )
        yield RecordedTurn(messages.opening.text, closed)


def _as_played(task: Task) -> Episode:
    return Episode(
        dialogue_id=task.dialogue_id,
        split="",
        corpus="",
        services=task.services,
        date=task.date,
        policy="oracle",
        reward="",
        turns=tuple(TurnRecord(turn.user, tuple(_steps(turn)), turn) for turn in task.turns),
    )


def _steps(turn: Turn) -> Iterator[StepRecord]:
    for calls in turn.rounds:
        made = tuple(map(_made, calls))
        results = [
            {
                "name": each.name,
                "status": each.status,
                "results": msgspec.Raw(each.results.encode()),
            }
            for each in calls
        ]
        yield StepRecord(Action(tool_calls=made), _encode(results).decode())
    yield StepRecord(Action(text=turn.text))


def recorded_calls(turn: Turn) -> tuple[ToolCall, ...]:
    """Return the calls that the corpus recorded in a turn."""
    return tuple(map(_made, turn.calls))


def _made(call: RecordedCall) -> ToolCall:
    return ToolCall(call.name, dict(call.arguments))


def corruptions(
    tasks: Sequence[Task], tools: Mapping[str, ToolSpec], weigh: Callable[[bytes], float]
) -> dict[str, Corruption]:
    """Return every known exploit of a reward, by name.

    Those whose name ends in "with its call" also make the recorded call. Of the others, only those
    that are named for calls make calls.

    Args:
        tasks: dialogues that provide wrong values and frequent words.
        tools: tools of the same split, by name.
        weigh: returns the weight of a word in the audited reward; 1 if it does not weigh words.
    """
    replies = [turn.text for task in tasks for turn in task.turns]
    wrong_values = _wrong_values(tasks)
    texts = {
        "target shuffled": _target_shuffled,
        "target three times": _target_three_times,
        "target negated": _target_negated,
        "target with wrong values": wrong_values,
        "values of the target": _values_of_target,
        "values and stop words": _values_and_stop_words,
        "values of the results": _values_of_results,
    }
    return {
        "silence": _constant(""),
        "goodbye": _constant(_GOODBYE),
        "constant": _constant(_CONSTANT),
        "best constant bag": _constant(best_constant_bag(replies, weigh)),
        "echo of the user": _echo_user,
        "echo of the conversation": _echo_conversation,
        "echo of the schema": _echo_schema(tools),
        "1 MB of text": _constant(_long_text(replies)),
        "first tool each turn": _first_tool(tools),
        "every tool each turn": _every_tool(tools),
        "right tool without arguments": _right_tool,
        **texts,
        **{f"{name}, with its call": _with_call(corrupt) for name, corrupt in texts.items()},
    }


def best_constant_bag(texts: Sequence[str], weigh: Callable[[bytes], float]) -> str:
    """Search greedily for the set of words that earns most as the reply to every turn.

    Args:
        texts: recorded replies.
        weigh: returns the weight of a word.
    """
    bags = [set(words(text)) for text in texts]
    candidates = _most_frequent(bags, _BAG_CANDIDATES)
    has = np.array([[word in bag for word in candidates] for bag in bags], dtype=np.float32)
    weights = np.array([weigh(word) for word in candidates])
    target_weight = np.array([sum(map(weigh, words(text))) for text in texts])
    common, size, best, chosen = np.zeros(len(bags)), 0.0, 0.0, list[int]()
    while len(chosen) < min(_BAG_MAX_WORDS, len(candidates)):
        shared = common[:, None] + has * weights
        scores = (shared / (target_weight[:, None] + size + weights - shared)).mean(axis=0)
        scores[chosen] = 0
        pick = int(scores.argmax())
        if scores[pick] <= best:
            break
        common, size, best = shared[:, pick], size + weights[pick], scores[pick]
        chosen.append(pick)
    return " ".join(candidates[pick].decode() for pick in chosen)


def _most_frequent(bags: Iterable[Iterable[bytes]], count: int | None = None) -> list[bytes]:
    frequency: dict[bytes, int] = {}
    for bag in bags:
        for word in bag:
            frequency[word] = frequency.get(word, 0) + 1
    return sorted(frequency, key=lambda word: (-frequency[word], word))[:count]


def _long_text(texts: Iterable[str]) -> str:
    """Repeat all words of the replies, frequent ones first, up to a megabyte."""
    vocabulary = b" ".join(_most_frequent(map(words, texts))).decode() or "word"
    return (f"{vocabulary} " * (_LONG_CHARS // len(vocabulary) + 1))[:_LONG_CHARS]


def _constant(text: str) -> Corruption:
    return lambda task, index, rng: Reply(text)


def _echo_user(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(task.turns[index].user)


def _echo_conversation(task: Task, index: int, rng: np.random.Generator) -> Reply:
    said = [text for turn in task.turns[:index] for text in (turn.user, turn.text)]
    return Reply(" ".join([*said, task.turns[index].user]))


def _echo_schema(tools: Mapping[str, ToolSpec]) -> Corruption:
    return lambda task, index, rng: Reply(tools_json(tools, task.services))


def _every_tool(tools: Mapping[str, ToolSpec]) -> Corruption:
    return lambda task, index, rng: Reply(calls=_calls_of(task, tools))


def _first_tool(tools: Mapping[str, ToolSpec]) -> Corruption:
    return lambda task, index, rng: Reply(calls=_calls_of(task, tools)[:1])


def _calls_of(task: Task, tools: Mapping[str, ToolSpec]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(spec.name) for spec in tools.values() if spec.service in task.services)


def _right_tool(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(calls=tuple(ToolCall(call.name) for call in task.turns[index].calls))


def _target_shuffled(task: Task, index: int, rng: np.random.Generator) -> Reply:
    shuffled = rng.permutation(np.array(task.turns[index].text.split(), dtype=object))
    return Reply(" ".join(shuffled))


def _target_three_times(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(" ".join([task.turns[index].text] * 3))


def _target_negated(task: Task, index: int, rng: np.random.Generator) -> Reply:
    text = task.turns[index].text
    negated, count = _VERB.subn(r"\g<0> not", text, count=1)
    return Reply(negated if count else f"not {text}")


def _values_of_target(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(" ".join(value.text for value in task.turns[index].values))


def _values_and_stop_words(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(f"{_values_of_target(task, index, rng).text} {_STOP_WORDS}")


def _values_of_results(task: Task, index: int, rng: np.random.Generator) -> Reply:
    """Reply with every value of the latest results."""
    results = [call.results for turn in task.turns[: index + 1] for call in turn.calls]
    latest = msgspec.json.decode(results[-1]) if results else None
    return Reply(" ".join(_texts_in(latest)))


def _texts_in(value: Any) -> Iterator[str]:
    """Yield the values in a JSON value, at any depth, as text."""
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        yield from (text for member in members for text in _texts_in(member))
    elif value is not None:
        yield value_text(value)


def _wrong_values(tasks: Iterable[Task]) -> Corruption:
    """Reply with the recorded text, in which each value is replaced by another of its slot."""
    known: dict[tuple[str, str], dict[str, None]] = {}
    for task in tasks:
        for turn in task.turns:
            for value in turn.values:
                known.setdefault((turn.service, value.slot), {})[value.text] = None
    lists = {slot: list(texts) for slot, texts in known.items()}

    def corrupt(task: Task, index: int, rng: np.random.Generator) -> Reply:
        turn = task.turns[index]
        pieces, rest = [], turn.text
        for value in sorted(turn.values, key=lambda value: _place(value, turn.text)):
            at = _place(value, rest)
            others = lists.get((turn.service, value.slot), [])
            pieces += [rest[:at], _other_value(value, others, task.date, rng)]
            rest = rest[at + len(value.text) :]
        return Reply("".join([*pieces, rest]))

    return corrupt


def _place(value: SpokenValue, text: str) -> int:
    """Return the index of a value in a text as whole words; the text's length if it is absent."""
    found = re.search(rf"(?<!\w){re.escape(value.text)}(?!\w)", text)
    return found.start() if found else len(text)


def _other_value(
    value: SpokenValue, others: Sequence[str], today: str | None, rng: np.random.Generator
) -> str:
    for choice in rng.permutation(len(others))[:_OTHER_VALUE_TRIES]:
        other = others[int(choice)]
        if not same_value(other, value.text, today):
            return other
    return _OTHER_VALUE


def _with_call(corrupt: Corruption) -> Corruption:
    def corrupt_text(task: Task, index: int, rng: np.random.Generator) -> Reply:
        return Reply(corrupt(task, index, rng).text, recorded_calls(task.turns[index]))

    return corrupt_text


_KNOWN = {
    "wrong values": "target with wrong values, with its call",
    "negated": "target negated, with its call",
}


def worse_answers(tasks: Sequence[Task], tools: Mapping[str, ToolSpec]) -> dict[str, Corruption]:
    """Return answers with a single mistake that a judge has to notice, by name.

    A mistake that does not apply to a turn leaves the turn as it is.

    Args:
        tasks: dialogues that provide values and replies.
        tools: tools of the same split, by name.
    """
    known = corruptions(tasks, tools, lambda word: 1.0)
    return {
        "values dropped": _values_dropped,
        **{way: known[name] for way, name in _KNOWN.items()},
        "call missing": _call_missing,
        "wrong tool": _wrong_tool(tools),
        "off topic": _off_topic(tasks),
    }


def _values_dropped(task: Task, index: int, rng: np.random.Generator) -> Reply:
    turn = task.turns[index]
    text = turn.text
    for value in turn.values:
        text = text.replace(value.text, "")
    return Reply(text, recorded_calls(task.turns[index]))


def _call_missing(task: Task, index: int, rng: np.random.Generator) -> Reply:
    return Reply(task.turns[index].text)


def _wrong_tool(tools: Mapping[str, ToolSpec]) -> Corruption:
    def answer(task: Task, index: int, rng: np.random.Generator) -> Reply:
        text = task.turns[index].text
        calls = recorded_calls(task.turns[index])
        others = [
            name
            for name, spec in tools.items()
            if spec.service in task.services and calls and name != calls[0].name
        ]
        if not others:
            return Reply(text, calls)
        name = others[int(rng.integers(len(others)))]
        return Reply(text, (structs.replace(calls[0], name=name), *calls[1:]))

    return answer


def _off_topic(tasks: Sequence[Task]) -> Corruption:
    """Reply with the text of a turn of another dialogue."""

    def answer(task: Task, index: int, rng: np.random.Generator) -> Reply:
        others = [other for other in tasks if other.dialogue_id != task.dialogue_id]
        if not others:
            return Reply(task.turns[index].text, recorded_calls(task.turns[index]))
        turns = others[int(rng.integers(len(others)))].turns
        return Reply(turns[int(rng.integers(len(turns)))].text, recorded_calls(task.turns[index]))

    return answer
