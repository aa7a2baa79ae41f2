"""Candidate actions for a conversation: calls with filled arguments, and replies of neighbours.

They depend on the observation and on a model of the train split alone, never on what the corpus
recorded in the current turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.chat import ConversationReader, ReadMessage, read_result
from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.retrieval.model_file import RetrievalModel
from agent_gym_env.retrieval.neighbour_index import (
    PHASES,
    hashed_situation,
    phase_of,
    situation_of,
)
from agent_gym_env.retrieval.reply_templates import TemplateFiller
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tool_schemas import ToolSchemas
from agent_gym_env.retrieval.understanding import (
    Decide,
    call_question,
    decide_with,
    update_state,
)
from agent_gym_env.retrieval.vocabulary import Vocabulary
from agent_gym_env.types import Action, Observation, ToolCall
from agent_gym_env.values.equality import value_text
from agent_gym_env.values.words import words

_NEIGHBOURS = 60
"""Number of similar situations that are searched."""

_VOTERS = 40
"""Largest number of different replies that are compared."""

_SHARPNESS = 2.0
"""Exponent of a neighbour's similarity in its vote."""

_SCHEMA_SCORE = 0.01
"""Score of a reply made from the schema, below that of the best reply of a neighbour."""

_MOST_CONVERSATIONS = 256
"""Number of conversations that can alternate without being read again from the start."""

_MOST_TOOL_LISTS = 512
"""Number of different lists of tools whose schemas are kept."""

_LAST_RESORT = "Is there anything else I can help you with?"


class Candidate(NamedTuple):
    """An action that the agent could take.

    Attributes:
        action: a call without text, or a text without a call.
        score: number in [0, 1]; higher is better.
        source: ``call``, ``neighbour`` (a recorded reply with the values of this conversation) or
            ``schema`` (a question made from a slot's description, or a phrase that always fits).
    """

    action: Action
    score: float
    source: Literal["call", "neighbour", "schema"]


class _Reply(NamedTuple):
    text: str
    vote: float


class CandidateGenerator:
    """Generates candidate actions with a model of a train split.

    Args:
        model: model of the train split.
    """

    def __init__(self, model: RetrievalModel) -> None:
        self._model = model
        self._decide = decide_with(model.classifier)
        self._conversations = Conversations(model.vocabulary, self._decide, TODAY)

    def candidates(self, observation: Observation, most: int) -> list[Candidate]:
        """Return candidates, the best first, without equal actions; at least one.

        Args:
            observation: observation of the unwrapped environment.
            most: largest number of candidates.
        """
        state = self._conversations.state(observation)
        calls = self._calls(state)
        waiting = 1.0 - sum(call.score for call in calls)
        replies = self._replies(state, waiting)
        found = sorted(calls + replies, key=lambda candidate: -candidate.score)
        return found[:most]

    def _calls(self, state: State) -> list[Candidate]:
        """Return a call of each tool whose required arguments can be filled, once a turn."""
        question = None if state.has_called else call_question(state)
        if question is None:
            return []
        proposed = []
        for name, probability in zip(question.answers, self._decide(question), strict=True):
            if name is None:
                continue
            tool = state.tools.by_name[name]
            arguments = state.guessed_arguments(tool)
            if not tool.missing(arguments):
                call = ToolCall(name, tool.typed(arguments))
                proposed.append(Candidate(Action(tool_calls=(call,)), float(probability), "call"))
        return proposed

    def _replies(self, state: State, share: float) -> list[Candidate]:
        """Return replies; the best one has the probability that no call is due as its score."""
        replies = self._replies_of_neighbours(state)
        proposed = [
            Candidate(Action(text=reply.text), share * reply.vote, "neighbour")
            for reply in _by_agreement(replies)
        ]
        known = {reply.text for reply in replies}
        others = (text for text in _schema_replies(state) if text not in known)
        score = share * _SCHEMA_SCORE
        return proposed + [Candidate(Action(text=text), score, "schema") for text in others]

    def _replies_of_neighbours(self, state: State) -> list[_Reply]:
        """Return the replies of the most similar situations, with this conversation's values."""
        query = hashed_situation(situation_of(state))
        votes: dict[str, float] = {}
        group, filler = PHASES.index(phase_of(state)), TemplateFiller(state)
        for neighbour in self._model.index.search(group, query, _NEIGHBOURS):
            text = filler.fill(self._model.template(neighbour.document))
            if text:
                votes[text] = votes.get(text, 0.0) + neighbour.similarity**_SHARPNESS
            if len(votes) == _VOTERS:
                break
        return [_Reply(text, vote) for text, vote in votes.items()]


class Conversations:
    """Keeps the states of conversations up to date; see `ConversationReader`.

    Args:
        vocabulary: word counts of the train split.
        decide: answers the questions of `agent_gym_env.retrieval.understanding`.
        today: date of the conversations, ISO.
        most: number of conversations that can alternate without being read again from the start.
        schemas: schemas by tool list, shared by several objects; by default none are shared.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        decide: Decide,
        today: str | None,
        *,
        most: int = _MOST_CONVERSATIONS,
        schemas: OrderedDict[str, ToolSchemas] | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        self._decide = decide
        self._today = today
        self._schemas = OrderedDict() if schemas is None else schemas
        self._reader = ConversationReader(self._begin, self._add, most=most)

    def state(self, observation: Observation) -> State:
        """Return the state of a conversation. The caller must not change it."""
        return self._reader.read(observation["messages"], observation["tools"])

    def _begin(self, tools: str) -> State:
        schemas = self._schemas.pop(tools, None) or ToolSchemas(tools, self._vocabulary)
        self._schemas[tools] = schemas
        if len(self._schemas) > _MOST_TOOL_LISTS:
            self._schemas.popitem(last=False)
        return State(schemas, self._today)

    def _add(self, state: State, message: ReadMessage) -> None:
        if message.role == "user":
            update_state(state, message.content or "", self._decide)
        elif message.role == "tool":
            _add_result(state, message.content or "")
        elif message.tool_calls:
            calls = (call.decoded_arguments() for call in message.calls)
            state.awaited = [
                {name: value_text(value) for name, value in arguments.items()}
                for arguments in calls
            ]
        elif message.role == "assistant":
            state.record_reply(message.content or "")


def _add_result(state: State, content: str) -> None:
    arguments = state.awaited.pop(0) if state.awaited else {}
    result = read_result(content)
    if result.status == "error" or result.results is None:
        state.record_refused_call()
    else:
        state.record_call(result.name, arguments, result.status, result.rows())


def _by_agreement(replies: Sequence[_Reply]) -> list[_Reply]:
    """Rank replies by their mean similarity to all replies, and return scores in [0, 1].

    The reply with the highest expected similarity, not the nearest neighbour's, is the best guess
    of an unknown reply (minimum Bayes risk, Kumar and Byrne, 2004). The score of each further reply
    is reduced by its similarity to the replies before it.
    """
    if not replies:
        return []
    votes = np.array([reply.vote for reply in replies])
    similarity = _similarities([reply.text for reply in replies])
    agreement = similarity @ votes
    order = np.argsort(-agreement, kind="stable")
    ranked = similarity[np.ix_(order, order)]
    novelty = 1.0 - np.tril(ranked, -1).max(axis=1)
    scores = agreement[order] * novelty / max(agreement[order[0]], 1e-12)
    return [
        _Reply(replies[place].text, float(score))
        for place, score in zip(order, scores, strict=True)
    ]


def _similarities(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the Jaccard similarities of the texts' sets of words, shape ``(texts, texts)``."""
    vocabulary: dict[bytes, int] = {}
    said = [
        [vocabulary.setdefault(word, len(vocabulary)) for word in words(text)] for text in texts
    ]
    has = np.zeros((len(texts), max(len(vocabulary), 1)))
    for row, places in zip(has, said, strict=True):
        row[places] = 1.0
    sizes = has.sum(axis=1)
    shared = has @ has.T
    similarities: NDArray[np.float64] = shared / np.maximum(sizes[:, None] + sizes - shared, 1.0)
    return similarities


def _schema_replies(state: State) -> list[str]:
    """Return questions for the missing arguments, in the schema's words, and a last resort."""
    tool = state.tool
    if tool is None:
        return [_LAST_RESORT]
    missing = tool.missing(state.arguments(tool))
    return [*(_question(tool.slots[name].description or name) for name in missing), _LAST_RESORT]


def _question(description: str) -> str:
    return f"What {description[0].lower()}{description[1:]} would you like?"
