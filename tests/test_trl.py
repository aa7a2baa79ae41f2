"""Dialogues in a user's own script with TRL: real trainers, a small model, both ways to play."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

pytest.importorskip("trl", reason="needs the extra 'train'")

import trl
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.chat_template_utils import qwen2_5_chat_template

from agent_gym_env.assembly import make_env
from agent_gym_env.errors import BudgetExceeded, TransientLMError
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.model_play import Played, ScoredDialogue, Situation
from agent_gym_env.training.model_player import ModelPlayer
from agent_gym_env.training.tiny import make_tiny
from agent_gym_env.trl import (
    DialogueEnvironment,
    RolloutConfig,
    async_grpo_trainer,
    environment_factory,
    environment_prompts,
    environment_reward,
    rollout_func,
    rollout_prompts,
)
from agent_gym_env.types import Action
from agent_gym_env.users.wording import ActsToSay, UserWords
from tests.training.first_turns import conversations

pytestmark = pytest.mark.filterwarnings("default")

SMALL = TinyConfig(
    vocabulary=500, width=32, layers=1, heads=2, context=8192, result_characters=60, practice=0
)
LOG = str(Path(__file__).parents[1] / "examples/logs/chat.jsonl")
NOISY = {"name": "SGDSim-v0", "user": {"name": "agenda", "miss": 0.3, "volunteer": 0.5}}
GENERATIONS = 4

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "a simulated user": {"env": NOISY, "turns": 4},
    "a turn of a recorded dialogue": {"env": "SGD-v0"},
    "a whole recorded dialogue": {"env": "SGD-v0", "turns": None},
    "a log": {"env": {"name": "Traces-v0", "corpus": LOG, "system_prompt": True}, "turns": 2},
}


class SometimesGone:
    """A user whose model stops answering in the second turn of every second dialogue."""

    name = "sometimes gone"
    problem: type[Exception] = TransientLMError

    def __init__(self) -> None:
        self._said: Counter[str] = Counter()

    def words(self, said: ActsToSay) -> UserWords:
        """Return words, or fail."""
        gone = int(said.task.dialogue_id.rpartition("_")[2]) % 2
        self._said[said.task.dialogue_id] += 1
        if gone and self._said[said.task.dialogue_id] % 2 == 0:
            raise self.problem("gone")
        return UserWords("I would like something.", "own")


class Spent(SometimesGone):
    """A user whose model has no budget left in the second turn."""

    problem = BudgetExceeded


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    make_tiny(path, msgspec.to_builtins(conversations("train", 4)), SMALL)
    return path


def trainer(
    folder: Path, data: Any, *, kind: type[Any] = trl.GRPOTrainer, steps: int = 2, **options: Any
) -> Any:
    """Make a trainer as a user's script does."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if "environment_factory" in options:
        tokenizer.chat_template = qwen2_5_chat_template  # TRL reads the calls of a known one only
    arguments: dict[str, Any] = {
        "output_dir": str(folder.parent / "run"),
        "per_device_train_batch_size": 2 * GENERATIONS,
        "num_generations": GENERATIONS,
        "max_steps": steps,
        "max_completion_length": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        **options.pop("args", {}),
    }
    options = {"reward_funcs": environment_reward, **options}
    return kind(
        AutoModelForCausalLM.from_pretrained(folder),
        args=trl.GRPOConfig(**arguments),
        train_dataset=data,
        processing_class=tokenizer,
        **options,
    )


def logged(made: Any) -> list[dict[str, float]]:
    return [line for line in made.state.log_history if "loss" in line]


def played_again(config: RolloutConfig, begin: Situation, actions: Iterable[Any]) -> float:
    """Play actions in the environment itself, and then silence; return what they earn."""
    name, options = config.environment()
    reward = config.reward or ("task" if name == "SGDSim-v0" else "balanced")
    env: Any = make_env(env=name, split=begin.split, reward=reward, **options)
    state = msgspec.json.decode(begin.state)
    env.reset(seed=state.get("seed"), options={"dialogue_id": begin.dialogue_id})
    if name != "SGDSim-v0":
        env.unwrapped.set_state(state)
    rewards: list[float] = []
    over, left, turn = False, iter(actions), None
    while not over and len(rewards) != config.turn_limit:
        _, reward, over, _, info = env.step(next(left, Action()))
        if info["turn"] != turn and (turn is not None or info["turn"] > begin.turn):
            rewards.append(reward)
        turn = info["turn"]
    assert next(left, None) is None
    return sum(rewards) / (1 if name == "SGDSim-v0" else len(rewards))


def written_actions(played: Played, tokenizer: Any, names: Sequence[str]) -> Iterator[Action]:
    """Read the actions back from the tokens that the trainer was given."""
    tokens = zip(played.env_mask, played.completion_ids, strict=True)
    for own, group in groupby(tokens, key=lambda pair: pair[0]):
        if own:
            message = [token for _, token in group]
            if message[-1] == tokenizer.eos_token_id:
                message.pop()
            reply = parse_reply(tokenizer.decode(message), names)
            yield Action("" if reply.tool_calls else reply.text, reply.tool_calls)


@pytest.mark.parametrize("config", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_rollouts_earn_what_the_same_actions_earn_in_the_environment(
    folder: Path, config: dict[str, Any]
) -> None:
    settings = RolloutConfig(**config, max_new_tokens=6, max_length=4096)
    seen: list[tuple[str, Played, float | None]] = []

    def noted(prompts: Sequence[str], played: Sequence[Played], **more: Any) -> list[float | None]:
        rewards = environment_reward(played=played, **more)
        seen.extend(zip(prompts, played, rewards, strict=True))
        return rewards

    rows = rollout_prompts(settings, dialogues=4)
    made = trainer(folder, rows, reward_funcs=noted, rollout_func=rollout_func(settings))
    made.train()
    assert len(seen) == 2 * 2 * GENERATIONS
    for first in range(0, len(seen), GENERATIONS):
        group = seen[first : first + GENERATIONS]
        # The same dialogue, seed and first words for all plays of a group.
        assert len({prompt for prompt, _, _ in group}) == 1
        assert len({tuple(played.prompt_ids) for _, played, _ in group}) == 1
        assert len({tuple(played.completion_ids) for _, played, _ in group}) == GENERATIONS
    for prompt, played, reward in seen:
        actions = list(written_actions(played, made.processing_class, ()))
        begin = msgspec.json.decode(prompt, type=Situation)
        assert reward == pytest.approx(played_again(settings, begin, actions)), actions
    for line in logged(made):
        assert math.isfinite(line["loss"])
        assert (line["failed"], line["unscored"]) == (0, 0)


def test_a_session_that_fails_is_counted_and_taken_out_of_its_group(folder: Path) -> None:
    user = f"{__name__}:SometimesGone"
    settings = RolloutConfig(
        env={"name": "SGDSim-v0", "user": user}, turns=4, max_new_tokens=6, max_length=4096
    )
    rows = rollout_prompts(settings)
    odd = [row for row in rows if int(row["dialogue_id"].rpartition("_")[2]) % 2]
    even = [row for row in rows if not int(row["dialogue_id"].rpartition("_")[2]) % 2]
    seen: list[tuple[str, Played]] = []

    def noted(played: Sequence[Played], dialogue_id: Any, **more: Any) -> list[float | None]:
        seen.extend(zip(dialogue_id, played, strict=True))
        return environment_reward(played=played, **more)

    data = rows.from_list([odd[0], even[0]])
    made = trainer(folder, data, steps=1, reward_funcs=noted, rollout_func=rollout_func(settings))
    made.train()
    for dialogue_id, played in seen:
        if dialogue_id == odd[0]["dialogue_id"]:
            assert played.failure == "TransientLMError: gone"
            assert (played.reward, sum(played.env_mask)) == (None, 1)
        else:
            assert played.failure is None
            assert played.reward is not None
    (line,) = logged(made)
    assert line["failed"] == 0.5
    known = [played.reward for _, played in seen if played.reward is not None]
    assert len(known) == GENERATIONS
    # The trainer's mean is over the sessions that have a reward; no failure counts as 0.
    assert line["reward"] == pytest.approx(sum(known) / len(known))
    assert math.isfinite(line["loss"])


@pytest.mark.parametrize(
    "args", [{"top_p": 0.9}, {"top_k": 5}, {"min_p": 0.1}, {"repetition_penalty": 1.2}]
)
def test_another_way_to_generate_is_refused(args: dict[str, Any]) -> None:
    (name,) = args
    run = SimpleNamespace(args=trl.GRPOConfig("out", report_to="none", use_cpu=True, **args))
    player = object.__new__(ModelPlayer)  # refused before anything is played
    with pytest.raises(ValueError, match=f"expected {name}="):
        player.rollout([], run)


def test_settings_are_checked(folder: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'SGDSim-v0'"):
        RolloutConfig(env="SGDSim-v1")
    with pytest.raises(msgspec.ValidationError, match=r"`int` >= 1.*turns"):
        rollout_func(RolloutConfig(turns=0))
    with pytest.raises(msgspec.ValidationError, match=r"`int` >= 1.*turns"):
        environment_factory(RolloutConfig(turns=0))
    short = RolloutConfig(max_new_tokens=6, max_length=20)
    made = trainer(folder, rollout_prompts(short, dialogues=2), rollout_func=rollout_func(short))
    with pytest.raises(ValueError, match="expected both to fit into max_length=20"):
        made.train()


def test_processes_and_calls_of_one_step_draw_differently(folder: Path) -> None:
    settings = RolloutConfig(env="SGD-v0", max_new_tokens=6, max_length=4096)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    prompt = rollout_prompts(settings, dialogues=1)[0]["prompt"]

    def drawn(player: ModelPlayer, process: int) -> list[list[int]]:
        accelerator = SimpleNamespace(process_index=process, unwrap_model=lambda each: each)
        args = trl.GRPOConfig("out", report_to="none", use_cpu=True)
        state = SimpleNamespace(global_step=3)
        run = SimpleNamespace(accelerator=accelerator, args=args, state=state, model=model)
        ids: list[list[int]] = player.rollout([prompt] * 2, run)["completion_ids"]
        return ids

    player = ModelPlayer(settings, tokenizer)
    first, again = drawn(player, 0), drawn(player, 0)
    other = drawn(ModelPlayer(settings, tokenizer), 1)
    assert len({tuple(each) for each in [*first, *again, *other]}) == 6
    assert drawn(ModelPlayer(settings, tokenizer), 0) == first


def call(tool: str, /, **arguments: Any) -> str:
    """Write a call as the chat template does."""
    written = msgspec.json.encode({"name": tool, "arguments": arguments}).decode()
    return f"<tool_call>\n{written}\n</tool_call>"


OVER = "The conversation is over. Answer without a call."

SCRIPTS = (
    (call("say_to_user", text="Which city?"), call("say_to_user", text="When?"), "Bye."),
    (call("call_service", name="Nobody_1-Knows", arguments={}), call("say_to_user", text="No.")),
    ("Good day to you.",),
    (call("say_to_user", text="Hello."), call("say_to_user"), call("sing"), "Bye."),
)
"""Messages of the plays of a group; the last one is written again when they are used up."""


class Scripted(trl.GRPOTrainer):
    """A trainer whose model writes given messages. All else is TRL's own: tools, masks, loss."""

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        tokenizer: Any = self.processing_class
        texts = []
        for number, ids in enumerate(prompt_ids):
            shown = tokenizer.decode(ids)
            done = shown.count("<|im_start|>assistant\n") - 1
            script = SCRIPTS[number % len(SCRIPTS)]
            if done:
                script = next(each for each in SCRIPTS if each[0] in shown)
            texts.append(script[min(done, len(script) - 1)])
        return [tokenizer.encode(f"{text}<|im_end|>") for text in texts], None


def called_actions(completion: Sequence[dict[str, Any]]) -> Iterator[Any]:
    """Read the actions back from the calls that the trainer answered."""
    for message, answer in pairwise(completion):
        for each in message.get("tool_calls") or ():
            name, arguments = each["function"]["name"], each["function"]["arguments"]
            refused = "'error'" in answer["content"] or answer["content"] == OVER
            if refused:
                continue
            yield {"tool_calls": [arguments]} if name == "call_service" else arguments


WITH_TOOLS: dict[str, Any] = {
    "kind": Scripted,
    "steps": 1,
    "args": {"max_completion_length": 2500, "max_tool_calling_iterations": 4},
}


@pytest.mark.parametrize("name", ["a simulated user", "a turn of a recorded dialogue"])
def test_environments_earn_what_the_same_actions_earn_in_the_environment(
    folder: Path, name: str
) -> None:
    settings = RolloutConfig(**ENVIRONMENTS[name])
    seen: list[tuple[str, Any, float | None]] = []

    def noted(completions: Any, situation: Any, **more: Any) -> list[float | None]:
        rewards = environment_reward(completions=completions, **more)
        seen.extend(zip(situation, completions, rewards, strict=True))
        return rewards

    made = trainer(
        folder,
        environment_prompts(settings, dialogues=2),
        reward_funcs=noted,
        environment_factory=environment_factory(settings),
        **WITH_TOOLS,
    )
    made.train()
    assert len(seen) == 2 * GENERATIONS
    assert len({begin for begin, _, _ in seen}) == 2
    played = 0
    for text, completion, reward in seen:
        actions = list(called_actions(completion))
        begin = msgspec.json.decode(text, type=Situation)
        assert reward == pytest.approx(played_again(settings, begin, actions)), actions
        played += len(actions)
    assert played >= len(seen)
    answers = [each["content"] for _, completion, _ in seen for each in completion[1:]]
    assert any("'error'" in each for each in answers)  # an unknown tool, a lacking argument
    assert any('"status":"error"' in each for each in answers)  # an unknown service
    (line,) = logged(made)
    assert (line["failed"], math.isfinite(line["loss"])) == (0, True)
    assert line["tools/call_frequency"] > 0


def test_the_trainers_own_generation_plays_an_environment(folder: Path) -> None:
    settings = RolloutConfig(env="SGD-v0")
    made = trainer(
        folder,
        environment_prompts(settings, dialogues=2),
        steps=1,
        reward_funcs=None,
        environment_factory=environment_factory(settings, owns_reward=True),
    )
    made.train()
    (line,) = logged(made)
    assert line["rewards/ScoringEnvironment/mean"] == line["reward"] == 0.0  # it said nothing


def test_an_environment_that_fails_has_no_reward(folder: Path) -> None:
    def made(user: str) -> Any:
        env = {"name": "SGDSim-v0", "user": f"{__name__}:{user}"}
        settings = RolloutConfig(env=env, turns=4)
        rows = environment_prompts(settings)
        odd = [row for row in rows if int(row["dialogue_id"].rpartition("_")[2]) % 2]
        factory = environment_factory(settings)
        return trainer(
            folder, rows.from_list([odd[0]] * 2), environment_factory=factory, **WITH_TOOLS
        )

    run = made("SometimesGone")
    run.train()
    (line,) = logged(run)
    # Also the play that stops talking: the user fails while it is silent.
    assert line["failed"] == 1
    assert line["reward"] is None
    assert line["loss"] == 0
    with pytest.raises(BudgetExceeded):
        made("Spent").train()


def test_a_dialogue_that_is_over_answers_no_more() -> None:
    settings = RolloutConfig(env="SGD-v0")
    (row,) = environment_prompts(settings, dialogues=1).select([0])
    env = environment_factory(settings)()
    opening = env.reset(**row)
    assert "Tools for call_service" in opening
    assert '"role":"user"' in opening
    assert env.say_to_user("Which city?").endswith("over. Answer without a call.")
    assert env.call_service("A", {}) == OVER
    dialogue: ScoredDialogue = env.finished
    assert len(dialogue.rewards) == 1
    with pytest.raises(ValueError, match="expected the beginning of a dialogue"):
        env.reset(situation="{}")


@pytest.mark.parametrize("owns_reward", [False, True])
def test_a_factory_goes_to_another_process(owns_reward: bool) -> None:
    settings = RolloutConfig(env="SGD-v0")
    factory = environment_factory(settings, owns_reward=owns_reward)
    env = pickle.loads(pickle.dumps(factory))()
    assert isinstance(env, DialogueEnvironment)
    assert hasattr(env, "get_reward") == owns_reward


def test_the_asynchronous_trainer_is_found_in_every_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = async_grpo_trainer()
    assert found.__name__ == "AsyncGRPOTrainer"
    assert found.__module__.startswith("trl.experimental")

    class Stable:
        """As TRL exports it from 1.18 on."""

    monkeypatch.setattr(trl, "AsyncGRPOTrainer", Stable, raising=False)
    assert async_grpo_trainer() is Stable


def test_recorded_dialogues_have_a_row_for_each_turn_and_simulated_ones_for_each_trial() -> None:
    recorded = rollout_prompts(RolloutConfig(env="SGD-v0"), dialogues=2)
    turns = Counter(recorded["dialogue_id"])
    env: Any = make_env(split="train")
    for dialogue_id, rows in turns.items():
        split = env.unwrapped.split
        assert rows == len(split.task(split.index(dialogue_id)).turns)
    assert len(rollout_prompts(RolloutConfig(env="SGD-v0", turns=None), dialogues=2)) == 2
    simulated = rollout_prompts(RolloutConfig(env=NOISY), dialogues=2, trials=3)
    assert (len(simulated), len(set(simulated["seed"]))) == (6, 6)


@pytest.mark.parametrize("prompts", [rollout_prompts, environment_prompts])
@pytest.mark.parametrize("name", ["dialogues", "trials"])
def test_no_dialogues_are_refused_and_do_not_mean_all(prompts: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, not 0"):
        prompts(RolloutConfig(env="SGDSim-v0"), **{name: 0})
