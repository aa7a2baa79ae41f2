import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.retrieval.neighbour_index import build_index

WEIGHTS = dict.fromkeys(range(12), 1.0)


def features(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint32)


def test_the_document_that_shares_most_rare_features_is_nearest() -> None:
    index = build_index([[features(1, 2), features(1, 3), features(1, 4)]], WEIGHTS)
    assert [each.document for each in index.search(0, features(1, 3), 1)] == [1]


def test_groups_are_searched_apart() -> None:
    index = build_index([[features(1, 2)], [features(1, 3), features(2, 4)]], WEIGHTS)
    assert {each.document for each in index.search(1, features(2), 9)} == {1, 2}
    assert index.search(1, features(2), 1)[0].document == 2


def test_a_group_without_documents_has_no_neighbours() -> None:
    index = build_index([[], [features(1), features(2)]], WEIGHTS)
    assert index.search(0, features(1), 5) == []


def test_an_index_without_documents_has_no_neighbours() -> None:
    assert build_index([[]], WEIGHTS).search(0, features(1), 5) == []


def test_unknown_features_say_nothing() -> None:
    index = build_index([[features(1), features(2)]], WEIGHTS)
    assert {each.similarity for each in index.search(0, features(9), 5)} == {0.0}


def test_weights_count() -> None:
    heavy = build_index([[features(1, 5), features(2, 6), features(3)]], {**WEIGHTS, 2: 3.0})
    assert heavy.search(0, features(1, 2), 1)[0].document == 1


documents = st.lists(st.sets(st.integers(0, 11), min_size=1, max_size=6), min_size=1, max_size=12)


@given(documents, st.sets(st.integers(0, 11), min_size=1))
def test_neighbours_are_those_of_the_cosine(found: list[set[int]], query: set[int]) -> None:
    index = build_index([[features(*document) for document in found]], WEIGHTS)
    count = {f: sum(f in document for document in found) for f in range(12)}
    idf = {f: np.log(len(found) / count[f]) if count[f] else 0.0 for f in range(12)}
    norms = [np.sqrt(max(sum(idf[f] ** 2 for f in each), 1e-12)) for each in found]
    cosines = [
        sum(idf[f] ** 2 for f in each & query) / norm
        for each, norm in zip(found, norms, strict=True)
    ]
    neighbours = index.search(0, features(*query), len(found))
    similarities = [each.similarity for each in neighbours]
    np.testing.assert_allclose(sorted(cosines, reverse=True), similarities, atol=1e-5)
