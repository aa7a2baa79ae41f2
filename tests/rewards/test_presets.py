from __future__ import annotations

from math import log
from pathlib import Path

import msgspec
import pytest

from agent_gym_env.assembly import make_env
from agent_gym_env.corpus.corpus import Corpus, open_corpus
from agent_gym_env.corpus.sgd import (
    SPLITS,
    Dialogue,
    DialogueState,
    SystemFrame,
    SystemTurn,
    UserFrame,
    UserTurn,
)
from agent_gym_env.lm.client import RemoteLM
from agent_gym_env.rewards.balanced import BalancedReward
from agent_gym_env.rewards.ground_truth import GroundTruthReward
from agent_gym_env.rewards.judge import JudgeReward
from agent_gym_env.rewards.presets import make_reward_for
from agent_gym_env.testing import check_reward
from tests.corpus.cafes import CAFES
from tests.log_corpora import AirlineLog


def dialogue(number: int, reply: str) -> Dialogue:
    state = DialogueState("NONE", [], {})
    user = UserTurn("hello", [UserFrame(CAFES.service_name, [], [], state)])
    system = SystemTurn(reply, [SystemFrame(CAFES.service_name, [], [])])
    return Dialogue(f"1_{number:05}", [CAFES.service_name], [user, system])


def write_split(folder: Path, *replies: str) -> None:
    folder.mkdir(parents=True)
    dialogues = [dialogue(number, reply) for number, reply in enumerate(replies)]
    (folder / "schema.json").write_bytes(msgspec.json.encode([CAFES]))
    (folder / "dialogues_001.json").write_bytes(msgspec.json.encode(dialogues))


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    write_split(tmp_path / "train", "good morning", "good day", "good night")
    write_split(tmp_path / "dev", "hi")
    return open_corpus(tmp_path)


def test_a_preset_is_made_by_name(corpus: Corpus) -> None:
    split = corpus.split("dev")
    assert isinstance(make_reward_for("ground_truth", split, corpus), GroundTruthReward)
    assert isinstance(make_reward_for({"name": "balanced"}, split, corpus), BalancedReward)


@pytest.mark.parametrize("name", ["ground_truth", "balanced"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_preset_keeps_the_promises_of_a_reward(split: str, name: str) -> None:
    check_reward(name, make_env(split=split))


@pytest.mark.parametrize("name", ["ground_truth", "balanced"])
def test_a_preset_keeps_the_promises_of_a_reward_on_sgd(sgd_path: Path, name: str) -> None:
    check_reward(name, make_env(corpus=str(sgd_path), split="dev"), dialogues=20)


def test_balanced_keeps_the_promises_of_a_reward_over_a_log() -> None:
    config = {"name": "balanced", "values": "results"}
    check_reward(config, make_env(env="Traces-v0", corpus=AirlineLog()))


def test_words_weigh_what_they_do_in_train(corpus: Corpus) -> None:
    reward = make_reward_for("balanced", corpus.split("dev"), corpus)
    assert isinstance(reward, BalancedReward)
    assert reward.weights[b"good"] == 1
    assert reward.weights[b"day"] == pytest.approx(log(4 / 2) + 1)
    assert reward.weights[b"hi"] == pytest.approx(log(4) + 1)


def test_without_train_words_weigh_what_they_do_in_the_split(tmp_path: Path) -> None:
    write_split(tmp_path / "dev", "hi", "hi there")
    corpus = open_corpus(tmp_path)
    reward = make_reward_for("balanced", corpus.split("dev"), corpus)
    assert isinstance(reward, BalancedReward)
    assert reward.weights[b"hi"] == 1


def test_a_reward_is_given_back_as_it_is(corpus: Corpus) -> None:
    reward = GroundTruthReward()
    assert make_reward_for(reward, corpus.split("dev"), corpus) is reward


@pytest.mark.parametrize("config", ["blanced", {"name": "blanced"}, {"Name": "balanced"}, {}])
def test_an_unknown_name_is_answered_with_the_known_ones(corpus: Corpus, config: object) -> None:
    with pytest.raises(ValueError, match="one of ground_truth, balanced"):
        make_reward_for(config, corpus.split("dev"), corpus)  # type: ignore[arg-type]


def test_an_unknown_option_is_answered_with_the_known_ones(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="has no option 'weight'; its options are values"):
        make_reward_for({"name": "balanced", "weight": 1}, corpus.split("dev"), corpus)


@pytest.mark.parametrize("name", ["llm_judge", "hybrid"])
@pytest.mark.parametrize(
    "model",
    [
        {"model": "qwen", "client": "local", "api_base": "http://127.0.0.1:9/v1"},
        {"model": {"model": "qwen", "client": "local", "api_base": "http://127.0.0.1:9/v1"}},
        {"model": {"model": "qwen"}, "client": "local", "api_base": "http://127.0.0.1:9/v1"},
    ],
)
def test_a_judges_model_is_given_flat_or_as_a_mapping(
    corpus: Corpus, name: str, model: dict[str, object]
) -> None:
    pytest.importorskip("aiohttp", reason="the lean client needs the extra local")
    reward = make_reward_for({"name": name, "votes": 3, **model}, corpus.split("dev"), corpus)
    judge = reward if isinstance(reward, JudgeReward) else reward.later  # type: ignore[attr-defined]
    assert (judge.model.name, judge.votes) == ("qwen", 3)
    assert isinstance(judge.model, RemoteLM)
    assert judge.model._transport.identity == "openai qwen http://127.0.0.1:9/v1"


def test_an_option_of_a_judges_model_is_given_once(corpus: Corpus) -> None:
    config = {
        "name": "llm_judge",
        "model": {"model": "qwen", "client": "local"},
        "client": "litellm",
    }
    with pytest.raises(ValueError, match=r"\['client'\] of the model are given beside \"model\""):
        make_reward_for(config, corpus.split("dev"), corpus)


def test_a_judges_unknown_option_is_answered_with_those_of_its_model_too(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match=r"no option 'api_bas' .*are api_base, .*votes"):
        make_reward_for({"name": "llm_judge", "api_bas": "x"}, corpus.split("dev"), corpus)


def test_an_object_without_a_score_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TypeError, match="not int"):
        make_reward_for(42, corpus.split("dev"), corpus)  # type: ignore[arg-type]
