"""Training of the model that reads an agent's text, once for each train split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.corpus.goals import Goal, action_value, read_goal, user_acts
from agent_gym_env.corpus.sgd import Dialogue, SystemFrame, SystemTurn, UserTurn
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import ToolSpec, tool_name
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import AgentTurn, read_acts
from agent_gym_env.users.reading.act_model import ACTS, ActModel, train_act_model
from agent_gym_env.users.reading.phrasings import ACTS_OF, Phrasings
from agent_gym_env.users.reading.reader import (
    KINDS,
    Look,
    ReadingModel,
    TextReader,
    asking_sentences,
    kind_features,
)
from agent_gym_env.users.reading.slot_model import (
    Situation,
    SlotModel,
    question_of,
    train_slot_model,
)
from agent_gym_env.users.reading.text import BITS

_SHARE_OF_ACTS = 0.8
"""Share of the dialogues from which acts are learned; kinds are learned from the others."""

_SHARE_REWORDED = 0.6
_SHARE_MEANINGLESS = 0.15
"""Shares of the recorded turns beside which a text in other words or without meaning is learned."""

_FILLERS = (
    "Sure!", "Great choice!", "Of course.", "Absolutely, happy to help with that.", "Let me see.",
    "Thanks for waiting.", "Okay, got it.", "No problem at all!", "Certainly.", "Alright.",
    "Sounds good.", "Perfect.", "I appreciate your patience.", "One moment please.",
    "I'd be glad to assist you.", "Understood.", "Good question!", "Thank you for the details.",
)  # fmt: skip


class RecordedTurn(NamedTuple):
    """A recorded turn of the agent, with the user who is about to read it.

    Attributes:
        reader: reads for the user.
        user: the user, whose state is that before the turn.
        before: words of the user before it.
        text: the recorded words.
        acts: kinds of the recorded acts.
        right: what a user should read.
    """

    reader: TextReader
    user: AgendaUser
    before: str
    text: str
    acts: frozenset[str]
    right: AgentTurn


def recorded_turns(
    corpus: Corpus, name: str, model: ReadingModel, *, every: int = 1
) -> Iterator[RecordedTurn]:
    """Let the recorded agent of each dialogue speak to the user, while the user is on script.

    Args:
        corpus: the corpus.
        name: name of the split.
        model: the readers' model.
        every: take each n-th dialogue only.
    """
    split = corpus.split(name)
    for index, dialogue in enumerate(corpus.reader.dialogues(name)):
        goal = read_goal(dialogue, split.tools)
        if goal.errands and index % every == 0:
            yield from _turns_of(dialogue, goal, split.task(index), split.tools, model)


def _turns_of(
    dialogue: Dialogue,
    goal: Goal,
    task: Task,
    tools: dict[str, ToolSpec],
    model: ReadingModel,
) -> Iterator[RecordedTurn]:
    user = AgendaUser(goal, tools, task.date)
    reader = TextReader(model, user, goal, task, tools)
    user.open()
    for number in range(1, len(dialogue.turns), 2):
        turn, before = dialogue.turns[number], dialogue.turns[number - 1]
        if not isinstance(turn, SystemTurn):
            return
        frame = turn.frames[0]
        _note_call(user, frame, tools)
        acts = [DialogueAct(act.act, act.slot, action_value(act)) for act in frame.actions]
        right = read_acts(acts, user.state.rows, task.date)
        kinds = frozenset(act.act for act in acts)
        yield RecordedTurn(reader, user, before.utterance, turn.utterance, kinds, right)
        made = user.react(right)
        following = dialogue.turns[number + 1 : number + 2]
        if any(isinstance(f, UserTurn) and set(user_acts(f)) != set(made) for f in following):
            return


def _note_call(user: AgendaUser, frame: SystemFrame, tools: dict[str, ToolSpec]) -> None:
    call = frame.service_call
    spec = None if call is None else tools.get(tool_name(frame.service, call.method))
    if call is None or spec is None:
        return
    failed = any(act.act == "NOTIFY_FAILURE" for act in frame.actions)
    status = "failure" if failed else "success"
    user.note_result(spec, call.parameters, status, frame.service_results or [])


class _Example(NamedTuple):
    """A text, and how it is to be read."""

    look: Look
    acts: frozenset[str]
    right: AgentTurn
    spec: ToolSpec
    situation: Situation


_NOTHING = AgentTurn("none")
_NO_WEIGHTS = np.zeros(0, np.float32)


def _untrained() -> ReadingModel:
    acts = ActModel(np.zeros((1 << BITS, len(ACTS)), np.float32), np.zeros(len(ACTS), np.float32))
    return ReadingModel(acts, _NO_WEIGHTS, SlotModel(_NO_WEIGHTS, _NO_WEIGHTS))


def train_model(corpus: Corpus, *, name: str = "train") -> ReadingModel:
    """Train on the recorded turns of a split, each also in other words, and on texts without meaning.

    Args:
        corpus: the corpus.
        name: name of the split.
    """
    random = np.random.default_rng(0)
    phrasings = Phrasings(random)
    for_acts: list[_Example] = []
    for_kinds: list[_Example] = []
    held_out, texts, last = False, [""], None
    for turn in recorded_turns(corpus, name, _untrained()):
        if turn.user is not last:
            held_out, last = random.random() > _SHARE_OF_ACTS, turn.user
        texts.append(turn.text)
        examples = [_example(turn, turn.text, turn.acts, turn.right)]
        state = turn.user.state
        if random.random() < _SHARE_REWORDED:
            other = phrasings.of(turn.right, turn.user.spec(), state.answer, len(state.rows))
            if other is not None:
                acts = ACTS_OF[turn.right.kind] | (turn.acts & {"INFORM"})
                examples.append(_example(turn, other, acts, turn.right))
        if not held_out:
            for_acts += examples
            continue
        for_kinds += examples
        if random.random() < _SHARE_MEANINGLESS:
            nothing = _meaningless(texts[-8:], turn.before, random)
            for_kinds.append(_example(turn, nothing, frozenset(), _NOTHING))
    acts = train_act_model(list(_act_examples(for_acts, random)), random)
    kinds = _train_kinds(acts, for_kinds, random)
    slots = _train_slots(acts, [*for_acts, *for_kinds], random)
    return ReadingModel(acts, kinds, slots)


def _example(turn: RecordedTurn, text: str, acts: frozenset[str], right: AgentTurn) -> _Example:
    look = turn.reader.look(text)
    return _Example(look, acts, right, turn.user.spec(), turn.reader.situation(look))


def _meaningless(texts: Sequence[str], before: str, random: np.random.Generator) -> str:
    """Return a text that means nothing: an echo of the user, words in disorder, or no words."""
    choice = random.random()
    if choice < 0.2:
        return before
    if choice < 0.3:
        return ""
    if choice < 0.4:
        return _FILLERS[random.integers(len(_FILLERS))]
    words = " ".join(texts).split()
    random.shuffle(words)
    return " ".join(words[: random.integers(1, 17)])


def _act_examples(
    examples: Sequence[_Example], random: np.random.Generator
) -> Iterator[tuple[Sequence[str], frozenset[str]]]:
    """Yield the sentences and acts of turns: as they are, with fillers, joined, and in disorder."""
    words = [
        word for example in examples[:2000] for s in example.look.sentences for word in s.split()
    ]
    for example in examples:
        sentences, acts = example.look.sentences, example.acts
        yield sentences, acts
        choice = random.random()
        if choice < 0.25:
            yield [_FILLERS[random.integers(len(_FILLERS))], *sentences], acts
        elif choice < 0.4:
            other = examples[random.integers(len(examples))]
            yield [*sentences, *other.look.sentences], acts | other.acts
        elif choice < 0.5:
            chosen = random.integers(len(words), size=random.integers(3, 20))
            yield [" ".join(words[index] for index in chosen)], frozenset()
        elif choice < 0.53:
            yield [_FILLERS[random.integers(len(_FILLERS))]], frozenset()


def _train_kinds(
    acts: ActModel, examples: Sequence[_Example], random: np.random.Generator
) -> NDArray[np.float32]:
    features = np.stack(
        [kind_features(acts.turn(e.look.sentences), e.look.flags) for e in examples]
    )
    right = np.array([KINDS.index(example.right.kind) for example in examples])
    weights = np.zeros((features.shape[1], len(KINDS)), np.float32)
    squares = np.full_like(weights, 1e-3)
    for _epoch in range(20):
        order = random.permutation(len(examples))
        for begin in range(0, len(order), 256):
            batch = order[begin : begin + 256]
            x, y = features[batch], right[batch]
            scores = x @ weights
            p = np.exp(scores - scores.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            p[np.arange(len(batch)), y] -= 1
            gradient = x.T @ p / len(batch) + 1e-5 * weights
            squares += gradient * gradient
            weights -= 0.2 * gradient / np.sqrt(squares)
    return weights


def _train_slots(
    acts: ActModel, examples: Sequence[_Example], random: np.random.Generator
) -> SlotModel:
    words = SlotModel(_NO_WEIGHTS, _NO_WEIGHTS).words_of
    questions = [
        (
            question_of(
                asking_sentences(acts, e.look.sentences), e.spec, words(e.spec), e.situation
            ),
            [slot in e.right.slots for slot in e.spec.arguments],
        )
        for e in examples
        if e.right.kind == "request" and set(e.right.slots) <= e.spec.arguments.keys()
    ]
    return train_slot_model(questions, random)
