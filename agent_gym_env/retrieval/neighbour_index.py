"""The recorded situations that are most similar to the current one, by an inverted index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.tokens import Features, hashed, identifier_words, pairs
from agent_gym_env.retrieval.tool_schemas import ToolSchema

FEATURE_WEIGHTS = {
    "tool": 2.5,
    "described": 1.5,
    "stage": 1.5,
    "missing": 2.0,
    "filled": 3.0,
    "asked": 3.0,
    "user": 1.75,
    "user pair": 1.5,
}
"""Weight of a feature by its kind, found by random search on a fifth of SGD's dev split."""

PHASES = (
    "no call",
    "next row",
    "query success rows",
    "query failure empty",
    "transaction success rows",
    "transaction failure rows",
    "transaction failure empty",
)
"""Phases of a turn. Replies are searched within one phase: other phases report other things."""


def phase_of(state: State) -> str:
    """Return the phase: whether a call was just made, of which kind, and how it ended."""
    if not state.has_called or state.tool is None or state.status == "error":
        return "next row" if state.has_moved_on and not state.has_called else "no call"
    kind = "query" if state.tool.is_query else "transaction"
    if kind == "query":
        return f"query {'success rows' if state.rows else 'failure empty'}"
    if state.status == "success":
        return "transaction success rows"
    return f"transaction failure {'rows' if state.rows else 'empty'}"


def situation_of(state: State) -> Iterator[tuple[str, str]]:
    """Yield the features of the situation in which an agent replies: kind and word."""
    if state.tool is not None:
        yield from _features_of_tool(state, state.tool)
    yield "stage", f"turn {min(state.turn, 2)}"
    for word in state.stems:
        yield "user", word
    for pair in pairs(state.stems):
        yield "user pair", pair


def hashed_situation(situation: Iterable[tuple[str, str]]) -> Features:
    """Return the hashes of the features of a situation, in order."""
    return hashed("situation", (f"{kind} {word}" for kind, word in situation))


def _features_of_tool(state: State, tool: ToolSchema) -> Iterator[tuple[str, str]]:
    arguments = state.arguments(tool)
    missing = tool.missing(arguments)
    yield "tool", tool.name
    for word in tool.words:
        yield "described", word
    yield "stage", _stage(state, tool, arguments, len(missing))
    yield "stage", f"ready {bool(state.ready)}"
    for name in missing:
        yield "missing", name
    for name in arguments:
        if (tool.service, name) in state.fresh:
            yield "filled", name
    said = set(state.stems)
    for name in state.row.get(tool.service, ()):
        if name not in arguments and not said.isdisjoint(identifier_words(name)):
            yield "asked", name


def _stage(state: State, tool: ToolSchema, arguments: dict[str, str], missing: int) -> str:
    kind = "query" if tool.is_query else "transaction"
    before = state.calls.get(tool.name)
    called = "never" if before is None else "same" if before == arguments else "other"
    return f"{kind} missing {min(missing, 3)} called {called}"


class Neighbour(NamedTuple):
    """A recorded situation.

    Attributes:
        document: number of the situation.
        similarity: cosine, up to a factor that is the same for all neighbours of one search.
    """

    document: int
    similarity: float


class NeighbourIndex(NamedTuple):
    """An inverted index over documents in groups. A document is a set of features.

    The similarity is the cosine of TF-IDF vectors with binary term frequency.

    Attributes:
        features: hashes of all features, sorted; uint32, shape ``(features,)``.
        weights: weight of each feature times its IDF; float32, shape ``(features,)``.
        begins: index in ``documents`` at which each feature's documents begin; int64, shape
            ``(features + 1,)``.
        documents: documents of each feature, in ascending order; int32.
        norms: lengths of the documents' vectors; float32, shape ``(documents,)``.
        groups: first document of each group; int32, shape ``(groups + 1,)``.
    """

    features: Features
    weights: NDArray[np.float32]
    begins: NDArray[np.int64]
    documents: NDArray[np.int32]
    norms: NDArray[np.float32]
    groups: NDArray[np.int32]

    def search(self, group: int, query: Features, most: int) -> list[Neighbour]:
        """Return the nearest documents of a group, the nearest first."""
        first, last = int(self.groups[group]), int(self.groups[group + 1])
        sums = np.zeros(last - first, np.float32)
        for feature in self._known(query):
            sums[self._postings(feature, first, last)] += self.weights[feature] ** 2
        similarities = sums / self.norms[first:last]
        nearest = _largest(similarities, most)
        return [Neighbour(first + int(each), float(similarities[each])) for each in nearest]

    def _known(self, query: Features) -> NDArray[np.int64]:
        if not len(self.features):
            return np.array([], np.int64)
        wanted = np.unique(query)
        places = np.searchsorted(self.features, wanted)
        places = np.minimum(places, len(self.features) - 1)
        known: NDArray[np.int64] = places[self.features[places] == wanted]
        return known

    def _postings(self, feature: int, first: int, last: int) -> NDArray[np.int32]:
        documents = self.documents[self.begins[feature] : self.begins[feature + 1]]
        begin, end = documents.searchsorted((first, last))
        within: NDArray[np.int32] = documents[begin:end] - np.int32(first)
        return within


def _largest(values: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Return the indices of the largest values, the largest first, equal ones in order."""
    if not len(values):
        return np.array([], np.int64)
    # Only few values are at least as large as the last wanted one; sorting them is cheap.
    place = max(len(values) - most, 0)
    places = np.flatnonzero(values >= np.partition(values, place)[place])
    order = np.lexsort((places, -values[places]))
    largest: NDArray[np.int64] = places[order[:most]]
    return largest


def build_index(
    groups: Sequence[Sequence[Features]], weight_of: Mapping[int, float]
) -> NeighbourIndex:
    """Build an index.

    Args:
        groups: features of each document of each group.
        weight_of: weight by feature.
    """
    documents = [np.unique(document) for group in groups for document in group]
    lengths = [len(document) for document in documents]
    owners = np.repeat(np.arange(len(documents), dtype=np.int32), lengths)
    occurrences = np.concatenate([*documents, np.array([], np.uint32)])
    order = np.argsort(occurrences, kind="stable")
    features, counts = np.unique(occurrences, return_counts=True)
    inverse_frequency = np.log(max(len(documents), 1) / counts)
    given = np.array([weight_of[int(feature)] for feature in features])
    weights = (given * inverse_frequency).astype(np.float32)
    squares = np.bincount(
        owners[order], np.repeat(weights.astype(np.float64) ** 2, counts), minlength=len(documents)
    )
    return NeighbourIndex(
        features=features.astype(np.uint32),
        weights=weights,
        begins=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        documents=owners[order],
        norms=np.sqrt(np.maximum(squares, 1e-12)).astype(np.float32),
        groups=np.concatenate(([0], np.cumsum([len(group) for group in groups]))).astype(np.int32),
    )
