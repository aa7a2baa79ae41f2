"""Nearest neighbours by weighed features: an inverted index over recorded situations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent_gym_env.retrieval.tokens import Features


class Neighbour(NamedTuple):
    """A recorded situation.

    Attributes:
        document: its number.
        similarity: cosine up to a factor that is the same for all neighbours of one search.
    """

    document: int
    similarity: float


class Index(NamedTuple):
    """Documents in groups, each a set of features; searched group by group.

    The similarity is the cosine of TF-IDF vectors with binary term frequency.

    Attributes:
        features: uint32, sorted, shape ``(features,)``.
        weights: float32, of each feature: its given weight times its IDF.
        begins: int64, shape ``(features + 1,)``: where the documents of each feature begin.
        documents: int32: the documents of each feature, in ascending order.
        norms: float32, shape ``(documents,)``: lengths of the documents' vectors.
        groups: int32, shape ``(groups + 1,)``: the first document of each group.
    """

    features: Features
    weights: NDArray[np.float32]
    begins: NDArray[np.int64]
    documents: NDArray[np.int32]
    norms: NDArray[np.float32]
    groups: NDArray[np.int32]

    def search(self, group: int, query: Features, most: int) -> list[Neighbour]:
        """Find the nearest documents of a group, the nearest first."""
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
    """Give the places of the largest values, the largest first, equal ones in order."""
    if not len(values):
        return np.array([], np.int64)
    # Few are as large as the last that is wanted, and are cheap to sort.
    place = max(len(values) - most, 0)
    places = np.flatnonzero(values >= np.partition(values, place)[place])
    order = np.lexsort((places, -values[places]))
    largest: NDArray[np.int64] = places[order[:most]]
    return largest


def build_index(groups: Sequence[Sequence[Features]], weight_of: Mapping[int, float]) -> Index:
    """Build an index.

    Args:
        groups: for each group, the features of each of its documents.
        weight_of: given weight by feature.
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
    return Index(
        features=features.astype(np.uint32),
        weights=weights,
        begins=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        documents=owners[order],
        norms=np.sqrt(np.maximum(squares, 1e-12)).astype(np.float32),
        groups=np.concatenate(([0], np.cumsum([len(group) for group in groups]))).astype(np.int32),
    )
