"""A saved policy acts as before it was saved, and its file is data."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra sb3 is not installed")

import torch

from agent_gym_env.encoders.text import HashingEncoder
from agent_gym_env.errors import DataError
from agent_gym_env.policies.sb3_file import Shape, read_header
from agent_gym_env.policies.sb3_model import SB3Policy
from agent_gym_env.testing import check_policy
from agent_gym_env.types import Action, Observation

SHAPE = Shape(k=3, encoder_dim=4, hidden=8)
OBSERVATION = {
    "user": "Tea?",
    "tool_result": "",
    "messages": '[{"role":"user","content":"Tea?"}]',
    "tools": "[]",
}


class Proposal(NamedTuple):
    """A candidate."""

    action: Action
    score: float


class Source:
    """Proposes the same replies always."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def candidates(self, observation: Observation, most: int) -> Sequence[Proposal]:
        """Propose."""
        return [Proposal(Action(text=text), 0.5) for text in self._texts][:most]


def policy(*texts: str, seed: int = 0, **options: Any) -> SB3Policy:
    torch.manual_seed(seed)
    return SB3Policy(SHAPE.network(), Source(*texts), SHAPE, **options)


def scores(of: SB3Policy) -> list[float]:
    """The scores of three candidates, told apart by their words."""
    vector = torch.linspace(-1, 1, 7 * 4 + 16 + 3 * 14)[None]
    with torch.no_grad():
        found: list[float] = of.network.forward_actor(vector)[0].tolist()
    return found


def test_it_takes_the_candidate_with_the_highest_score() -> None:
    texts = ("Yes.", "No, we have none.", "Which tea would you like?")
    acting = policy(*texts)
    chosen = acting.act(OBSERVATION)
    assert chosen.text in texts
    assert all(acting.act(OBSERVATION) == chosen for _ in range(3))
    # The choice follows the candidate, not its place in the list, but for its rank.
    assert policy(*texts).act(OBSERVATION) == chosen


def test_without_candidates_it_is_silent() -> None:
    assert policy().act(OBSERVATION) == Action()


class Generous(Source):
    """Proposes more than was asked for."""

    def candidates(self, observation: Observation, most: int) -> Sequence[Proposal]:
        """Propose."""
        return super().candidates(observation, 100)


def test_no_more_than_k_are_looked_at() -> None:
    texts = ("Yes.", "No.", "Maybe.", "Which tea?")
    acting = SB3Policy(policy().network, Generous(*texts), SHAPE, deterministic=False)
    assert {acting.act(OBSERVATION).text for _ in range(50)} == {"Yes.", "No.", "Maybe."}


def test_unmasked_it_may_choose_a_number_without_a_candidate(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    policy(masked=False).save(path)
    drawing = SB3Policy.load(path, Source("Yes."), deterministic=False)
    drawing.reset(seed=0)
    assert {drawing.act(OBSERVATION).text for _ in range(50)} == {"Yes.", ""}
    masked = policy("Yes.", deterministic=False)
    assert {masked.act(OBSERVATION).text for _ in range(50)} == {"Yes."}


def test_draws_repeat_with_the_seed() -> None:
    drawing = policy("Yes.", "No.", "Maybe.", deterministic=False)

    def drawn(seed: int) -> list[str]:
        drawing.reset(seed=seed)
        return [drawing.act(OBSERVATION).text for _ in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert set(drawn(1)) == {"Yes.", "No.", "Maybe."}


@pytest.mark.parametrize("deterministic", [True, False])
def test_it_keeps_the_promises_of_a_policy(deterministic: bool) -> None:
    check_policy(policy("Yes.", "No.", "Maybe.", deterministic=deterministic))


def test_a_saved_policy_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    saved = policy("Yes.", "No.", name="tea", candidates={"training_dialogues": 5})
    saved.save(path)
    loaded = SB3Policy.load(path, Source("Yes.", "No."))
    assert (loaded.name, loaded.shape, loaded.candidates) == (
        "tea",
        SHAPE,
        {"training_dialogues": 5},
    )
    assert scores(loaded) == scores(saved)
    assert loaded.act(OBSERVATION) == saved.act(OBSERVATION)
    assert read_header(path).candidates == {"training_dialogues": 5}


def test_a_policy_of_version_0_1_is_loaded_with_todays_names(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    old: Any = {"lessons": 5, "indexed": 3}
    policy("Yes.", candidates=old).save(path)
    today = {"training_dialogues": 5, "indexed": 3}
    assert read_header(path).source_options() == today
    assert SB3Policy.load(path, Source("Yes.")).candidates == today


def test_nothing_in_the_file_is_pickled(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    policy().save(path)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            np.load(io.BytesIO(archive.read(name)), allow_pickle=False)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


def test_a_file_with_pickled_code_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    trap = np.array([Trap(sprung)], object)
    np.savez(tmp_path / "array.npz", trap)
    (tmp_path / "plain.npz").write_bytes(pickle.dumps(Trap(sprung)))
    for name in ("array.npz", "plain.npz"):
        with pytest.raises(DataError, match="not a saved policy"):
            SB3Policy.load(tmp_path / name, Source())
    assert not sprung.exists()


def rewritten(path: Path, **changes: Any) -> Path:
    """Change the header of a saved policy."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(arrays["header.json"].tobytes())
    arrays["header.json"] = np.frombuffer(json.dumps({**header, **changes}).encode(), np.uint8)
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "format is 99, this version reads 1"),
        ({"shape": {"hidden": 16}}, "the weights do not fit"),
        ({"shape": {"k": -1}}, "not a saved policy"),
        ({"shape": {"hidden": 10**9}}, "not a saved policy"),
        # Weights of 120 GB, were they made before they are compared.
        ({"shape": {"hidden": 1 << 14, "encoder_dim": 1 << 16}}, "the weights do not fit"),
        ({"candidates": {"foo": 1}}, "not a saved policy: Invalid enum value 'foo'"),
        ({"candidates": {"training_dialogues": -3}}, "not a saved policy: Expected `int` >= 0"),
        ({"surprise": 1}, "unknown field"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tmp_path / "policy.npz"
    policy().save(path)
    with pytest.raises(DataError, match=message):
        SB3Policy.load(rewritten(path, **changes), Source())


@pytest.mark.parametrize("value", [np.float32("nan"), np.float32("inf"), np.float64(0)])
def test_weights_are_finite_float32_numbers(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "policy.npz"
    policy().save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["score.weight"] = np.full_like(arrays["score.weight"], value, dtype=type(value))
    np.savez(path, **arrays)
    with pytest.raises(
        DataError, match=r"score\.weight contains NaN or infinity, or is not float32"
    ):
        SB3Policy.load(path, Source())


def test_any_damage_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "policy.npz"
    policy().save(path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=3).tolist():
            damaged[place] = int(random.integers(256))
        path.write_bytes(damaged[: random.integers(1, len(whole) + 1)])
        try:
            SB3Policy.load(path, Source())
        except DataError:
            continue


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such file.*nowhere\.npz"):
        SB3Policy.load(tmp_path / "nowhere.npz", Source())


def test_an_encoder_of_ones_own_has_to_be_given_again(tmp_path: Path) -> None:
    shape = Shape(k=3, encoder_dim=4, ngrams=None, hidden=8)
    path = tmp_path / "policy.npz"
    SB3Policy(shape.network(), Source(), shape, encoder=HashingEncoder(4)).save(path)
    with pytest.raises(
        ValueError, match=r"another encoder than the hashing encoder, of 4 numbers: pass it"
    ):
        SB3Policy.load(path, Source())
    with pytest.raises(ValueError, match="an encoder of 4 numbers, this one has 5"):
        SB3Policy.load(path, Source(), encoder=HashingEncoder(5))
    assert SB3Policy.load(path, Source(), encoder=HashingEncoder(4)).shape == shape
