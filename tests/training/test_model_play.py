from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("transformers", reason="needs the extra 'train'")

from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_gym_env.assembly import make_env
from agent_gym_env.envs.replay import ReplaySettings
from agent_gym_env.errors import ContextExceeded, DataError
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.lm.torch_generation import Draft, Generator
from agent_gym_env.rewards.base import ClosedTurn, Score
from agent_gym_env.rollout.play import play as play_dialogue
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.model_play import (
    ChatTokens,
    Limits,
    Played,
    Situation,
    begun,
    play_together,
    situation,
)
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.types import Action
from tests.training.first_turns import conversations, prompts

SMALL = TinyConfig(vocabulary=600, width=32, layers=1, heads=2, practice=0)
ONE_TURN = Limits(turns=1, message=400, tokens=100_000)
TWO_TURNS = Limits(turns=2, message=400, tokens=100_000)


class Scripted(Generator):
    """Writes what it is told, and notes what it was shown."""

    def __init__(self, *messages: Sequence[int]) -> None:
        self._messages = iter(messages)
        self.prompts: list[list[int]] = []

    def run(self, drafts: Sequence[Draft]) -> None:
        for draft in drafts:
            self.prompts.append(list(draft.prompt))
            draft.tokens.extend(next(self._messages))


class ScoresEverySecondTurn:
    name = "every second"
    parts = ()

    def score(self, turn: ClosedTurn) -> Score:
        return Score(0.5 if turn.index % 2 else None, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny(path, msgspec.to_builtins(conversations("train", 8)), SMALL)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def worlds() -> dict[str, ReplaySettings]:
    env: Any = make_env(split="train", reward="balanced")
    return {"train": env.unwrapped.settings}


def whole(tokenizer: Any, row: Any) -> tuple[list[int], list[int]]:
    """A conversation as fine-tuning sees it: tokens, and 1 for each of the assistant's."""
    written = tokenizer.apply_chat_template(
        msgspec.to_builtins(row.messages),
        tools=msgspec.to_builtins(row.tools),
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    return written["input_ids"], written["assistant_masks"]


def said(tokens: Sequence[int], mask: Sequence[int]) -> Iterator[list[int]]:
    """Return each message of the assistant."""
    for own, group in groupby(zip(mask, tokens, strict=True), key=lambda pair: pair[0]):
        if own:
            yield [token for _, token in group]


def play(
    tokenizer: Any,
    worlds: dict[str, ReplaySettings],
    generator: Any,
    begin: Situation,
    limits: Limits,
) -> Played:
    (played,) = play_together(
        [begin],
        worlds,
        generator,
        ChatTokens(tokenizer),
        limits,
        temperature=0.0,
        seed="",
        batch_size=8,
    )
    return played


def begins(split: str = "train") -> list[Situation]:
    rows = msgspec.to_builtins(prompts(split, 12))
    return [situation(row) for row in rows if row["turn"] == 0]


def test_the_teachers_play_is_token_for_token_what_fine_tuning_sees(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    calls = 0
    for row, begin in zip(conversations("train", 12), begins(), strict=True):
        tokens, mask = whole(tokenizer, row)
        generator = Scripted(*said(tokens, mask))
        played = play(tokenizer, worlds, generator, begin, TWO_TURNS)
        shown = len(played.prompt_ids)
        end = shown + len(played.completion_ids)
        assert played.prompt_ids + played.completion_ids == tokens[:end]
        assert played.env_mask == mask[shown:end]
        assert tokenizer.decode(tokens[end:]) == "\n"
        assert played.rewards == [pytest.approx(1.0)] * 2
        calls += tokenizer.decode(tokens).count("<tool_call>")
    assert calls > 0


def test_what_the_model_wrote_is_what_the_mask_shows(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    row, begin = conversations("train", 12)[0], begins()[0]
    messages = list(said(*whole(tokenizer, row)))
    played = play(tokenizer, worlds, Scripted(*messages), begin, TWO_TURNS)
    pairs = list(zip(played.completion_ids, played.env_mask, strict=True))
    own = tokenizer.decode([token for token, mine in pairs if mine])
    rest = tokenizer.decode([token for token, mine in pairs if not mine])
    assert own == "".join(tokenizer.decode(message) for message in messages)
    assert "<|im_start|>assistant" in rest
    assert "<|im_start|>user" in rest


def test_one_turn_ends_when_it_closes(tokenizer: Any, worlds: dict[str, ReplaySettings]) -> None:
    reply = tokenizer.encode("Which city?<|im_end|>")
    played = play(tokenizer, worlds, Scripted(reply), begins()[0], ONE_TURN)
    assert played.completion_ids == reply
    assert played.env_mask == [1] * len(reply)
    assert len(played.rewards) == 1


def test_words_beside_a_call_are_not_said(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    call = '<tool_call>\n{"name": "Nobody_1-Knows", "arguments": {}}\n</tool_call>'
    generator = Scripted(
        tokenizer.encode(f"One moment.{call}<|im_end|>"), tokenizer.encode("Sorry.<|im_end|>")
    )
    played = play(tokenizer, worlds, generator, begins()[0], ONE_TURN)
    assert len(generator.prompts) == 2
    assert '"status":"error"' in tokenizer.decode(generator.prompts[1])
    assert len(played.rewards) == 1


def test_a_message_that_was_cut_off_is_ended_for_the_model(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    generator = Scripted(tokenizer.encode("Which ci"), tokenizer.encode("ty?<|im_end|>"))
    played = play(tokenizer, worlds, generator, begins()[0], TWO_TURNS)
    text = tokenizer.decode(generator.prompts[1])
    assert "<|im_start|>assistant\nWhich ci<|im_end|>\n<|im_start|>user\n" in text
    ended = len(tokenizer.encode("Which ci"))
    assert played.env_mask[ended] == 0


def test_what_has_no_room_is_silence(tokenizer: Any, worlds: dict[str, ReplaySettings]) -> None:
    begin = begins()[0]
    call = tokenizer.encode('<tool_call>\n{"name": "A", "arguments": {}}\n</tool_call><|im_end|>')
    played = play(tokenizer, worlds, Scripted(call), begin, Limits(2, 400, 401))
    assert played.completion_ids == call
    assert played.rewards == [0.0, 0.0]


def test_silence_lasts_to_the_dialogues_end(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    begin = begins()[0]
    split = worlds["train"].split
    turns = len(split.task(split.index(begin.dialogue_id)).turns)
    reply = tokenizer.encode("Which city?<|im_end|>")
    played = play(tokenizer, worlds, Scripted(reply), begin, Limits(None, 400, 401))
    assert turns > 2
    assert played.rewards[1:] == [0.0] * (turns - 1)


def test_a_context_that_is_full_earns_what_an_evaluation_gives_for_it(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    class FullAfterOneReply:
        name = "full"

        def __init__(self) -> None:
            self._replies = iter(["Which city?"])

        def reset(self, *, seed: int | None = None) -> None:
            """Begin."""

        def act(self, observation: Any) -> Action:
            for reply in self._replies:
                return Action(reply)
            raise ContextExceeded("full")

    begin = begins()[0]
    reply = tokenizer.encode("Which city?<|im_end|>")
    trained = play(tokenizer, worlds, Scripted(reply), begin, Limits(None, 400, 401))
    env = make_env(split="train", reward="balanced")
    evaluated = play_dialogue(env, FullAfterOneReply(), dialogue_id=begin.dialogue_id)
    assert [turn.reward for turn in evaluated.turns] == trained.rewards
    assert summarize([evaluated]).reward.mean == pytest.approx(trained.reward)


def test_turns_that_were_not_scored_are_not_learned_from(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    world = ReplaySettings(worlds["train"].split, ScoresEverySecondTurn())
    first, second = (tokenizer.encode(f"{text}<|im_end|>") for text in ("One?", "Two, then?"))
    begin = begins()[0]
    played = play(tokenizer, {"train": world}, Scripted(first, second), begin, TWO_TURNS)
    assert played.rewards == [None, 0.5]
    assert played.reward == 0.5
    assert sum(played.env_mask) == len(second)
    assert played.env_mask[-len(second) :] == [1] * len(second)


def test_a_play_without_any_reward_has_none(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    world = ReplaySettings(worlds["train"].split, ScoresEverySecondTurn())
    reply = tokenizer.encode("One?<|im_end|>")
    played = play(tokenizer, {"train": world}, Scripted(reply), begins()[0], ONE_TURN)
    assert played.reward is None
    # It must not weigh in the step, but a batch of nothing but zeros would have a loss of 0 / 0.
    assert played.env_mask == [1] + [0] * (len(reply) - 1)


def test_a_play_is_decided_by_its_seed_alone(
    folder: Path, tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    chat = ChatTokens(tokenizer)

    def plays(seed: str, batch_size: int) -> list[Played]:
        generator = Generator(model, tokenizer, ends=chat.ends, context=2048, cache_bytes=1 << 20)
        return play_together(
            begins()[:3],
            worlds,
            generator,
            chat,
            Limits(2, 12, 2048),
            temperature=1.0,
            seed=seed,
            batch_size=batch_size,
        )

    assert plays("0", 8) == plays("0", 1)
    assert plays("0", 8) != plays("1", 8)


def test_a_state_of_another_corpus_is_refused(
    tokenizer: Any, worlds: dict[str, ReplaySettings]
) -> None:
    begin = begins("dev")[0]
    with pytest.raises(
        DataError, match="the environment needs the arguments that the rows were exported"
    ):
        play(tokenizer, {"dev": worlds["train"]}, Scripted(), begin, TWO_TURNS)


def test_a_state_that_is_none_is_refused_with_its_place(worlds: dict[str, ReplaySettings]) -> None:
    row = msgspec.to_builtins(prompts("train", 1)[0])
    begin = situation({**row, "state": '{"version": "one"}'})
    with pytest.raises(DataError, match="the row's state is not of SGD-v0") as raised:
        begun(begin, worlds["train"])
    assert raised.value.turn == 0
    assert raised.value.dialogue_id == row["dialogue_id"]
