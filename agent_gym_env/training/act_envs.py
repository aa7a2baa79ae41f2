"""The environments of a PPO run over dialogue acts, and the dialogues that it is shown."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import gymnasium as gym
import msgspec
import numpy as np
from numpy.typing import NDArray

from agent_gym_env.corpus.goals import action_value
from agent_gym_env.corpus.sgd import Dialogue, SystemTurn
from agent_gym_env.corpus.tool_specs import tool_name
from agent_gym_env.envs.sgd_sim import SGDSimEnv, unwrap_simulation
from agent_gym_env.policies.act_choices import ActChoices
from agent_gym_env.policies.act_policy import Hears
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy, ToldActs
from agent_gym_env.policies.base import Policy
from agent_gym_env.policies.rule import RulePolicy
from agent_gym_env.policies.user_words import WordModels, WordsListener
from agent_gym_env.retrieval.training import held_out
from agent_gym_env.training.demonstrations import Demonstrations
from agent_gym_env.training.played_dialogues import evenly_spread, refuse_taken
from agent_gym_env.types import Action, DialogueAct, Observation, ToolCall
from agent_gym_env.wrappers.act_action import ActAction, ActObservation
from agent_gym_env.wrappers.dialogue_subset import DialogueSubset

Teacher = Literal["recorded", "rules"]
_Step = tuple[int | None, NDArray[np.float32], NDArray[np.bool_]]
"""The number of what was done, or ``None``; the features and the mask before it."""


class ActEnvsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the environments, and of what the agent hears of the user.

    Attributes:
        env: arguments of ``SGDSim-v0`` other than split, reward and a limit of steps, for example
            ``{"understanding": "acts", "noise": {"acts": 0.1, "values": 0.05}}``.
        reward: reward of ``SGDSim-v0``, by name or as a mapping.
        hears: ``words``: the agent understands the user's words by itself, with what it learned
            from train; ``acts``: the environment tells it the user's acts, which is a privilege
            that no agent has in earnest.
        training_dialogues: share of the train split from which understanding words is learned.
            With ``words``, PPO trains on the other dialogues, which the agent understands no
            better than those of dev.
        wording: style of the agent's words.
    """

    env: dict[str, Any] = {}
    reward: str | dict[str, Any] = "task"
    hears: Hears = "words"
    training_dialogues: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.6
    wording: Literal["terse", "plain", "verbose", "descriptive"] = "plain"

    def __post_init__(self) -> None:
        """Check the arguments of the environment.

        Raises:
            ValueError: they contain an argument that the run itself sets.
        """
        refuse_taken(self.env)


class ActEnvs:
    """Makes environments over one corpus.

    Args:
        config: settings of the environments.

    Attributes:
        dialogues: ids of the dialogues of train to train on.

    Raises:
        ValueError: no dialogue is left to train on.
    """

    def __init__(self, config: ActEnvsConfig) -> None:
        self._config = config
        self._envs: dict[str, SGDSimEnv] = {}
        self._models: WordModels | None = None
        bare = self.sim_env("train")
        train, ids = bare.split, bare.split.dialogue_ids()
        self.training_dialogues = int(config.training_dialogues * len(train))
        selected = set(bare.selected)
        if config.hears == "words":
            count = self.training_dialogues
            selected &= set(held_out(train, training_dialogues=count, indexed=0))
            self._models = WordModels.of_split(train, training_dialogues=count, indexed=0)
        self.dialogues = [ids[index] for index in sorted(selected)]
        if not self.dialogues:
            raise ValueError(
                f"training_dialogues={config.training_dialogues} leaves none of the {len(train)} "
                "dialogues of train to train on; make it smaller"
            )

    def sim_env(self, split: str) -> SGDSimEnv:
        """Return an ``SGDSim-v0`` without wrappers, which shares corpus and models with others."""
        if split not in self._envs:
            self._envs[split] = unwrap_simulation(self._make_sim_env(split))
        return copy.copy(self._envs[split])

    def _make_sim_env(self, split: str, **changed: Any) -> gym.Env[Any, Any]:
        """Make ``SGDSim-v0`` without wrappers.

        Args:
            split: split to play.
            **changed: arguments in place of those of the settings.
        """
        return gym.make(
            "agent_gym_env:SGDSim-v0",
            disable_env_checker=True,
            split=split,
            reward=self._config.reward,
            **self._config.env | changed,
        )

    def spread(self, split: str, most: int) -> list[str]:
        """Choose at most so many dialogues, evenly spread over a split."""
        bare = self.sim_env(split)
        ids = bare.split.dialogue_ids()
        return [ids[index] for index in evenly_spread(bare.selected, most)]

    def choices(self, env: gym.Env[Any, Any]) -> ActChoices:
        """Make the agent's memory and choices for an environment."""
        hearing = ToldActs(env) if self._models is None else WordsListener(self._models)
        return ActChoices(hearing, self._config.wording)

    def make_env(self) -> gym.Env[NDArray[np.float32], np.int64]:
        """Make an environment of numbers over the dialogues to train on."""
        env = DialogueSubset(self.sim_env("train"), self.dialogues)
        return ActObservation(ActAction(env, self.choices(env)))

    def demonstrate(
        self,
        count: int,
        seed: int,
        on_progress: Callable[[int, int], None],
        teacher: Teacher = "recorded",
    ) -> Demonstrations:
        """Show what a teacher does in some dialogues to train on.

        Each step is labelled with the choice that does the same; steps without one are left out.

        Args:
            count: number of dialogues; all if there are fewer.
            seed: seed of the draw of dialogues, and of the noise.
            on_progress: called with how many dialogues are done and in total.
            teacher: ``recorded``: the recorded agent, without noise; ``rules``: the rule-based
                agent, in the environment that is trained in.

        Raises:
            ValueError: no step can be shown.
        """
        drawn = np.random.default_rng(seed).permutation(self.dialogues)[:count].tolist()
        played = self._by_rules(drawn, seed) if teacher == "rules" else self._by_record(drawn)
        rows: list[tuple[NDArray[np.float32], NDArray[np.bool_], int]] = []
        for done, steps in enumerate(played, start=1):
            for number, features, mask in steps:
                if number is not None:
                    rows.append((features, mask, number))
            on_progress(done, len(drawn))
        if not rows:
            raise ValueError(f"no step of the {len(drawn)} dialogues is one of the twenty choices")
        vectors, masks, labels = zip(*rows, strict=True)
        return Demonstrations(np.stack(vectors), np.stack(masks), np.array(labels))

    def _by_record(self, dialogues: Sequence[str]) -> Iterator[Iterator[_Step]]:
        """Play the recorded agent: a user who reads acts, and no noise, whatever is trained in."""
        env = self._make_sim_env("train", understanding="acts", user="agenda", noise=None)
        bare, choices, drawn = unwrap_simulation(env), self.choices(env), set(dialogues)
        every = bare.corpus.annotated_dialogues("train")
        recorded = (each for each in every if each.dialogue_id in drawn)
        for dialogue in itertools.islice(recorded, len(drawn)):
            observation, _ = bare.reset(options={"dialogue_id": dialogue.dialogue_id})
            actions = _recorded_actions(dialogue)
            yield _shown(bare, choices, observation, partial(_next_of, actions))

    def _by_rules(self, dialogues: Sequence[str], seed: int) -> Iterator[Iterator[_Step]]:
        """Play the rule-based agent with the same ears as the agent that learns from it."""
        bare, wording = self.sim_env("train"), self._config.wording
        choices, count = self.choices(bare), self.training_dialogues
        policy: Policy = (
            ActsOraclePolicy(bare, wording=wording)
            if self._models is None
            else RulePolicy(bare.split, training_dialogues=count, indexed=0, wording=wording)
        )
        for number, dialogue_id in enumerate(dialogues):
            observation, _ = bare.reset(seed=seed + number, options={"dialogue_id": dialogue_id})
            policy.reset()
            yield _shown(bare, choices, observation, policy.act)


def _next_of(actions: Iterator[Action], _: Observation) -> Action | None:
    return next(actions, None)


def _shown(
    env: SGDSimEnv,
    choices: ActChoices,
    observation: Observation,
    act: Callable[[Observation], Action | None],
) -> Iterator[_Step]:
    """Play a dialogue that has begun, until it ends or nothing is left to do."""
    choices.reset()
    over = False
    while not over:
        choices.observe(observation)
        action = act(observation)
        if action is None:
            return
        yield choices.number_of(action), choices.features(), choices.mask()
        choices.note(action)
        observation, _, over, _, _ = env.step(action)


def _recorded_actions(dialogue: Dialogue) -> Iterator[Action]:
    """Yield the recorded agent's actions, calls before words."""
    for turn in dialogue.turns:
        if not isinstance(turn, SystemTurn):
            continue
        frames = turn.frames
        frame = next((each for each in frames if each.service_call is not None), frames[0])
        call = frame.service_call
        if call is not None:
            name = tool_name(frame.service, call.method)
            yield Action(tool_calls=(ToolCall(name, dict(call.parameters)),))
        acts = [DialogueAct(each.act, each.slot, action_value(each)) for each in frame.actions]
        yield Action(turn.utterance, acts=tuple(acts))
