"""Candidate actions for a conversation: calls with filled arguments, and replies of neighbours.

They are made of the observation and the memory of a train split alone; what the corpus did in the
turn at hand is nowhere in sight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.retrieval.conversation import Conversations
from agent_gym_env.retrieval.heading import call_question
from agent_gym_env.retrieval.memory import Memory
from agent_gym_env.retrieval.questions import decided_by
from agent_gym_env.retrieval.situations import PHASES, hashed_situation, phase_of, situation_of
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.templates import Filler
from agent_gym_env.types import Action, Observation, ToolCall
from agent_gym_env.values.words import words

_NEIGHBOURS = 60
_VOTERS = 40
_SHARPNESS = 2.0
"""Exponent of a neighbour's similarity in its vote."""

_SCHEMA_SCORE = 0.01
"""Of a reply that is made of the schema: less than any neighbour's is worth."""

_LAST_RESORT = "Is there anything else I can help you with?"


class Candidate(NamedTuple):
    """An action that could be taken.

    Attributes:
        action: a call alone, or a reply alone.
        score: in [0, 1]; the best candidate has the highest.
        source: ``call``, ``neighbour`` (a recorded reply, refilled) or ``schema`` (a question made
            of a slot's description, or a phrase that always fits).
    """

    action: Action
    score: float
    source: Literal["call", "neighbour", "schema"]


class _Reply(NamedTuple):
    text: str
    vote: float


class CandidateGenerator:
    """Makes candidates.

    Args:
        memory: what a train split teaches.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._decide = decided_by(memory.chooser)
        self._conversations = Conversations(memory.vocabulary, self._decide, TODAY)

    def candidates(self, observation: Observation, most: int) -> list[Candidate]:
        """Give candidates, the best first, no two with the same action; at least one.

        Args:
            observation: of the bare environment.
            most: how many at most.
        """
        state = self._conversations.follow(observation)
        calls = self._calls(state)
        waiting = 1.0 - sum(call.score for call in calls)
        replies = self._replies(state, waiting)
        found = sorted(calls + replies, key=lambda candidate: -candidate.score)
        return found[:most]

    def _calls(self, state: State) -> list[Candidate]:
        """Propose to call each tool whose required arguments can be filled, once a turn."""
        question = None if state.has_called else call_question(state)
        if question is None:
            return []
        proposed = []
        for name, probability in zip(question.answers, self._decide(question), strict=True):
            if name is None:
                continue
            tool = state.offer.tools[name]
            arguments = state.guessed_arguments(tool)
            if not tool.missing(arguments):
                call = ToolCall(name, dict(arguments))
                proposed.append(Candidate(Action(tool_calls=(call,)), float(probability), "call"))
        return proposed

    def _replies(self, state: State, share: float) -> list[Candidate]:
        """Propose replies; the best one's score is the probability that no call is due."""
        replies = self._neighbours_replies(state)
        proposed = [
            Candidate(Action(text=reply.text), share * reply.vote, "neighbour")
            for reply in _by_agreement(replies)
        ]
        said = {reply.text for reply in replies}
        made_up = (text for text in _schema_replies(state) if text not in said)
        least = share * _SCHEMA_SCORE
        return proposed + [Candidate(Action(text=text), least, "schema") for text in made_up]

    def _neighbours_replies(self, state: State) -> list[_Reply]:
        """Say, with this conversation's values, what was said in the most similar situations."""
        memory = self._memory
        query = hashed_situation(situation_of(state))
        votes: dict[str, float] = {}
        group, filler = PHASES.index(phase_of(state)), Filler(state)
        for neighbour in memory.index.search(group, query, _NEIGHBOURS):
            text = filler.fill(memory.template(neighbour.document))
            if text:
                votes[text] = votes.get(text, 0.0) + neighbour.similarity**_SHARPNESS
            if len(votes) == _VOTERS:
                break
        return [_Reply(text, vote) for text, vote in votes.items()]


def _by_agreement(replies: Sequence[_Reply]) -> list[_Reply]:
    """Put first what most would say, then what says most otherwise; votes become scores to 1.

    The reply of the highest expected similarity, not the nearest neighbour's, is the best guess at
    an unknown one (minimum Bayes risk, Kumar and Byrne, 2004). Those behind it are worth the less,
    the more they say the same as one before them.
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
    """Give the Jaccard similarity of the sets of words of each two texts."""
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
    """Ask for what is missing, in the schema's words."""
    tool = state.tool
    if tool is None:
        return [_LAST_RESORT]
    missing = tool.missing(state.arguments(tool))
    return [*(_question(tool.slots[name].description or name) for name in missing), _LAST_RESORT]


def _question(description: str) -> str:
    return f"What {description[0].lower()}{description[1:]} would you like?"
