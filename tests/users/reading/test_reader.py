"""The reader of an agent's free text."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import DataError
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.users.agent_turn import AgentTurn
from agent_gym_env.users.reading.reader import KINDS, ReadingModel, TextReader
from agent_gym_env.users.reading.training import (
    load_model,
    load_or_train,
    model_path,
    recorded_turns,
    save_model,
    train_model,
)


@pytest.fixture(scope="module")
def model() -> ReadingModel:
    return load_or_train(open_corpus("sample"))


@pytest.fixture
def env() -> Iterator[SGDSimEnv]:
    env = gym.make("SGDSim-v0", split="dev").unwrapped
    assert isinstance(env, SGDSimEnv)
    yield env
    env.close()


def _shares(corpus: Corpus, split: str, model: ReadingModel) -> tuple[float, float]:
    """Return the shares of recorded turns whose kind is read rightly, and wrongly."""
    right = wrong = total = 0
    for turn in recorded_turns(corpus, split, model):
        read = turn.reader.read(turn.text).kind
        total += 1
        right += read == turn.right.kind
        wrong += read not in (turn.right.kind, "none")
    return right / total, wrong / total


@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_kinds_of_recorded_turns_of_the_sample(model: ReadingModel, split: str) -> None:
    right, wrong = _shares(open_corpus("sample"), split, model)
    assert right >= 0.88
    assert wrong <= 0.005


def test_words_in_disorder_mean_nothing(model: ReadingModel) -> None:
    draws, texts, read = random.Random(0), [""], []
    for turn in recorded_turns(open_corpus("sample"), "test", model):
        texts.append(turn.text)
        words = " ".join(texts[-4:]).split()
        draws.shuffle(words)
        if not turn.user.is_over():
            read.append(turn.reader.read(" ".join(words[: draws.randint(0, 16)])).kind)
    assert len(read) > 200
    assert read.count("none") / len(read) >= 0.9


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "?", "\ud800\udfff", "\x00" * 50, "a" * 100_000, "9" * 10_000, "¿Qué ciudad?",
        "<tool_call>{}</tool_call>", "\n" * 5_000, "the " * 5_000, "\U0001f600" * 500, "%s{0}{",
        "Is that right? " * 400, "1.2.3.4.5.6.7" * 300, "March 8th " * 1_000,
    ],
)  # fmt: skip
def test_any_text_is_read_without_an_error(env: SGDSimEnv, text: str) -> None:
    env.reset(seed=0)
    _, _, _, _, info = env.step({"text": text, "tool_calls": ""})
    assert info["user_understood"] in (True, False)


def test_a_reader_of_a_restored_state_reads_the_same(env: SGDSimEnv) -> None:
    policy = ActsOraclePolicy(env)
    other = gym.make("SGDSim-v0", split="dev").unwrapped
    assert isinstance(other, SGDSimEnv)
    for dialogue_id in env.split.dialogue_ids()[:8]:
        policy.reset()
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        over = False
        while not over:
            action = policy.act(observation)
            other.set_state(env.get_state())
            restored = other.step(action)
            observation, reward, over, truncated, info = env.step(action)
            assert restored == (observation, reward, over, truncated, info)


class _Misreading:
    """Reads every turn as one of a kind; what it says is right, as far as the user knows."""

    def __init__(self, reader: TextReader, kind: str) -> None:
        self._reader, self._kind = reader, kind

    def read(self, text: str) -> AgentTurn:
        wishes = dict(self._reader.look(text).wishes)
        slots = tuple(wishes)[:1]
        return AgentTurn(self._kind, slots=slots, suggested=wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("confirm", "counter")])
def test_a_reading_error_never_becomes_consent(env: SGDSimEnv, kind: str) -> None:
    """Only a turn that is read as a confirmation or a counter-offer can bring consent."""
    policy = ActsOraclePolicy(env)
    for dialogue_id in env.split.dialogue_ids()[:15]:
        policy.reset()
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        simulation = env.simulation
        reader = simulation._reader
        assert isinstance(reader, TextReader)
        simulation._reader = _Misreading(reader, kind)  # type: ignore[assignment]
        for _ in range(40):
            observation, _, over, _, _ = env.step(policy.act(observation))
            if over:
                break
        assert simulation._user.state.consented == []


def _kind_read(env: SGDSimEnv) -> str:
    turn = env.simulation.agent_turn
    assert turn is not None
    return turn.kind


@pytest.mark.parametrize("offer", ["3:33 am", "something else"])
def test_the_user_agrees_to_no_counter_offer_but_that_of_the_service(offer: str) -> None:
    env = SGDSimEnv(split="train")
    ids = env.split.dialogue_ids()
    countered = [
        ids[index]
        for index in env.selected
        if any("counter:1" in errand.decisions for errand in env.split.goal(index).errands)
    ]
    for dialogue_id in countered:
        policy = ActsOraclePolicy(env)
        observation, _ = env.reset(options={"dialogue_id": dialogue_id})
        action = policy.act(observation)
        while env.simulation.user_state.outcome != "counter":
            observation, _, over, _, _ = env.step(action)
            assert not over
            action = policy.act(observation)
        state = env.get_state()
        env.step(action)
        assert _kind_read(env) == "counter"
        env.set_state(state)
        env.step(
            "I was not able to book the appointment. I could try it with "
            f"{offer} as the visit time. Is that acceptable?"
        )
        assert _kind_read(env) != "counter"
        assert "AFFIRM" not in {act.act for act in env.simulation.user_state.acts}
    assert len(countered) >= 4


def test_a_saved_model_reads_as_before(model: ReadingModel, tmp_path: Path) -> None:
    path = tmp_path / "reading.npz"
    save_model(model, path)
    loaded = load_model(path)
    assert np.array_equal(loaded.acts.weights, model.acts.weights)
    assert np.array_equal(loaded.kinds, model.kinds)
    assert np.array_equal(loaded.slots.pairs, model.slots.pairs)


def test_training_is_reproducible(model: ReadingModel) -> None:
    again = train_model(open_corpus("sample"))
    assert np.array_equal(again.acts.weights, model.acts.weights)
    assert np.array_equal(again.slots.pairs, model.slots.pairs)


def test_a_damaged_model_is_refused_and_trained_again(model: ReadingModel, tmp_path: Path) -> None:
    path = tmp_path / "reading.npz"
    save_model(model, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="this is not a reading model"):
        load_model(path)


def test_the_model_is_kept_in_the_cache(model: ReadingModel) -> None:
    assert model_path(open_corpus("sample")).exists()


@pytest.mark.long
@pytest.mark.parametrize("split", ["dev", "test"])
def test_the_kinds_of_recorded_turns_of_sgd(sgd_path: Path, split: str) -> None:
    corpus = open_corpus(sgd_path)
    right, wrong = _shares(corpus, split, load_or_train(corpus))
    print(f"{split}: kind read rightly {right:.4f}, wrongly {wrong:.4f}")
    assert right >= 0.97
    assert wrong <= 0.0025


def test_a_number_that_is_said_by_the_way_does_not_decide_which_row_is_offered(
    model: ReadingModel,
) -> None:
    """ "One option", "this one": the row whose name is said is offered, not one with a 1 in it."""
    turns = recorded_turns(open_corpus("sample"), "dev", model)
    turn = next(turn for turn in turns if turn.right.kind == "offer" and turn.user.state.rows)
    row = turn.user.state.rows[0]
    slot = next(slot for slot in row if "name" in slot or "title" in slot)
    rows = [{**row, slot: "First Choice", "rooms": "1"}, {**row, slot: "Second Best", "rooms": "2"}]
    turn.user.state.rows = rows
    text = "One option is Second Best. Would you like this one, or another one?"
    assert turn.reader.read(text).offered == rows[1]
