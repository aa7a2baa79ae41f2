"""A language model plays with a simulated user: what it is shown, and what it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

from transformers import AutoTokenizer

from agent_gym_env.assembly import make_env, play_episodes
from agent_gym_env.cli.main import main
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import BudgetExceeded, DataError, TransientLMError
from agent_gym_env.export.from_episodes import conversation_row, prompt_rows
from agent_gym_env.export.rows import ConversationRow, PromptRow
from agent_gym_env.rollout.episode import Episode
from agent_gym_env.training import model_player
from agent_gym_env.training.config import GRPOConfig, RolloutConfig, TinyConfig
from agent_gym_env.training.grpo import train_grpo
from agent_gym_env.training.model_play import ChatTokens, Limits, Played, play_together, situation
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.users.wording import ActsToSay, UserWords
from tests.training.first_turns import write
from tests.training.test_model_play import Scripted, said, whole

pytestmark = pytest.mark.usefixtures("datasets_cache")

SIMULATION: dict[str, Any] = {"env": "SGDSim-v0", "split": "train"}
NOISY: dict[str, Any] = {"user": {"name": "agenda", "miss": 0.3, "volunteer": 0.5}}
SMALL = TinyConfig(
    vocabulary=500, width=32, layers=1, heads=2, context=1024, result_characters=60, practice=0
)
TO_THE_END = Limits(turns=None, message=400, tokens=100_000)


@pytest.fixture(scope="module")
def episodes() -> list[Episode]:
    return list(play_episodes("acts-oracle", episodes=4, **SIMULATION))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, episodes: list[Episode]) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    make_tiny(folder / "model", msgspec.to_builtins(conversations(episodes)), SMALL)
    write(folder / "rows.jsonl", starts(episodes))
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder / "model")


def conversations(episodes: Sequence[Episode]) -> list[ConversationRow]:
    return [conversation_row(each) for each in episodes]


def starts(episodes: Sequence[Episode]) -> list[PromptRow]:
    return [row for each in episodes for row in prompt_rows(each)]


def simulation(**options: Any) -> SGDSimEnv:
    env: Any = make_env(**SIMULATION, **options)
    found: SGDSimEnv = env.unwrapped
    return found


def play(
    tokenizer: Any, env: SGDSimEnv, generator: Any, rows: Sequence[PromptRow], limits: Limits
) -> list[Played]:
    return play_together(
        [situation(msgspec.to_builtins(row)) for row in rows],
        {"train": env},
        generator,
        ChatTokens(tokenizer),
        limits,
        temperature=0.0,
        seed="",
        batch_size=8,
    )


def config(folder: Path, **changes: Any) -> GRPOConfig:
    settings = {
        "model": str(folder / "model"),
        "rows": [str(folder / "rows.jsonl")],
        "env": "SGDSim-v0",
        "max_length": 700,
        "batch_size": 8,
        "gradient_accumulation": 1,
        "generations": 4,
        "max_new_tokens": 6,
        "max_steps": 2,
        "log_every": 1,
    }
    return msgspec.convert({**settings, **changes}, GRPOConfig)


def test_the_teachers_play_is_token_for_token_what_fine_tuning_sees(
    tokenizer: Any, episodes: list[Episode]
) -> None:
    env = simulation()
    for episode, row in zip(episodes, starts(episodes), strict=True):
        tokens, mask = whole(tokenizer, conversation_row(episode))
        (played,) = play(tokenizer, env, Scripted(*said(tokens, mask)), [row], TO_THE_END)
        shown = len(played.prompt_ids)
        end = shown + len(played.completion_ids)
        assert played.prompt_ids + played.completion_ids == tokens[:end]
        # Only the agent's own tokens are learned: no user turn, no tool result.
        assert played.env_mask == mask[shown:end]
        assert tokenizer.decode(tokens[end:]) == "\n"
        assert played.reward == pytest.approx(episode.ranking_reward)
        assert len(played.rewards) == len(episode.turns)


def test_a_group_has_the_same_user_and_another_seed_another_one(tokenizer: Any) -> None:
    played = list(play_episodes("silent", episodes=1, trials=2, **SIMULATION, **NOISY))
    reply = tokenizer.encode("What would you like?<|im_end|>")

    def shown(seed: int) -> list[list[int]]:
        rows = [starts(played)[seed]] * 3
        replies = Scripted(*[reply] * 300)
        plays = play(tokenizer, simulation(**NOISY), replies, rows, Limits(4, 400, 100_000))
        return [each.prompt_ids + each.completion_ids for each in plays]

    assert len({*map(tuple, shown(0))}) == 1
    assert shown(0)[0] != shown(1)[0]


def test_a_dialogue_may_be_cut_off_after_some_turns(
    tokenizer: Any, episodes: list[Episode]
) -> None:
    reply = tokenizer.encode("What would you like?<|im_end|>")
    rows = starts(episodes)[:1]
    (played,) = play(tokenizer, simulation(), Scripted(reply, reply), rows, Limits(2, 400, 9999))
    assert played.rewards == [-0.01, -0.01]
    assert played.reward == pytest.approx(-0.02)
    assert played.env_mask[-len(reply) :] == [1] * len(reply)


def test_what_has_no_room_is_silence_until_the_user_leaves(
    tokenizer: Any, episodes: list[Episode]
) -> None:
    reply = tokenizer.encode("What would you like?<|im_end|>")
    rows = starts(episodes)[:1]
    (played,) = play(tokenizer, simulation(), Scripted(reply), rows, Limits(None, 400, 401))
    assert played.completion_ids == reply
    assert len(played.rewards) > 2
    assert played.reward is not None
    assert played.reward < 0


class Gone:
    """A user whose model answers so often, and then no more."""

    name = "gone"

    def __init__(self, answers: int, problem: Exception) -> None:
        self._answers, self._problem = answers, problem

    def words(self, said: ActsToSay) -> UserWords:
        """Return words, or fail."""
        self._answers -= 1
        if self._answers < 0:
            raise self._problem
        return UserWords("I would like something.", "own")


def test_a_session_that_failed_has_no_reward(tokenizer: Any, episodes: list[Episode]) -> None:
    reply = tokenizer.encode("What would you like?<|im_end|>")

    def broken(problem: Exception, answers: int = 3) -> Played:
        env = simulation(user=Gone(answers, problem))
        row = msgspec.to_builtins(starts(episodes)[0])
        state = {**msgspec.json.decode(row["state"]), "user_options": env.user_options}
        row["state"] = msgspec.json.encode(state).decode()
        rows = [msgspec.convert(row, PromptRow)]
        (played,) = play(tokenizer, env, Scripted(reply, reply, reply), rows, TO_THE_END)
        return played

    for answers, turns in ((3, 2), (0, 0)):
        played = broken(TransientLMError("gone"), answers)
        assert played.failure == "TransientLMError: gone"
        assert len(played.rewards) == turns
        assert played.reward is None
        # One token, because the trainer cannot take a mean over no token.
        assert sum(played.env_mask) == 1
        assert len(played.env_mask) == len(played.completion_ids)
    with pytest.raises(BudgetExceeded):
        broken(BudgetExceeded("spent"))


def test_a_run_reports_what_it_played_and_that_no_held_out_dialogue_was_among_it(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    make = model_player.open_world

    def noted(config: RolloutConfig, split: str) -> Any:
        opened.append(split)
        return make(config, split)

    monkeypatch.setattr(model_player, "open_world", noted)
    train_grpo(config(folder), out=tmp_path)
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    # Two steps of eight plays, four from each dialogue.
    assert (report["steps"], report["situations"], report["plays"]) == (2, 4, 16)
    assert (report["failed"], report["available"]) == (0, 4)
    assert report["origin"] == {"trained": {"train": 4}, "held_out": {}, "shared": 0}
    assert opened == ["train"]
    lines = map(msgspec.json.decode, (tmp_path / "metrics.jsonl").read_bytes().splitlines())
    rewards = [line["reward"] for line in lines if "reward" in line]
    # A model that knows nothing loses the user's patience.
    assert all(-0.3 < reward < 0 for reward in rewards)


def test_the_report_counts_dialogues_that_are_held_out(
    tmp_path: Path, folder: Path, episodes: list[Episode]
) -> None:
    same = config(folder, held_out=[str(folder / "rows.jsonl")], max_steps=1, turns=1)
    train_grpo(same, out=tmp_path / "same")
    report = msgspec.json.decode((tmp_path / "same/report.json").read_bytes())
    assert report["origin"]["shared"] == 4
    dev = play_episodes("acts-oracle", episodes=2, env="SGDSim-v0", split="dev")
    rows = write(tmp_path / "dev.jsonl", starts(list(dev)))
    train_grpo(config(folder, rows=[rows], max_steps=1, turns=1), out=tmp_path / "dev")
    report = msgspec.json.decode((tmp_path / "dev/report.json").read_bytes())
    assert report["origin"] == {"trained": {"dev": 2}, "held_out": {}, "shared": 0}


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ("SGD-v0", "the row's state is not of SGD-v0"),
        ({"name": "SGDSim-v0", "patience": 2}, "the row's user has the options"),
    ],
)
def test_rows_of_another_environment_are_refused(
    tmp_path: Path, folder: Path, env: Any, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        train_grpo(config(folder, env=env), out=tmp_path)


def test_an_unknown_environment_is_refused(folder: Path) -> None:
    with pytest.raises(msgspec.ValidationError, match="did you mean 'SGDSim-v0'"):
        config(folder, env="SGDSim-v1")


def test_the_command_plays_the_simulation(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {"batch_size": 4, "gradient_accumulation": 1, "generations": 4, "max_new_tokens": 4}
    command = ["train", "grpo", str(folder / "rows.jsonl"), "--model", str(folder / "model")]
    options = ["--env", "SGDSim-v0", "--max-steps", "1", "--json", "--corpus", "sample"]
    given = ["--config", msgspec.json.encode(more).decode(), "--out", str(tmp_path)]
    assert main([*command, *options, *given]) == 0
    report = msgspec.json.decode(capsys.readouterr().out)
    assert (report["steps"], report["plays"], report["origin"]["shared"]) == (1, 4, 0)
