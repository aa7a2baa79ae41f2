"""Corrections of simulated dialogues: what the acts oracle would have done in each state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent_gym_env.chat import MessageLog, read_tools
from agent_gym_env.corpus.corpus import CorpusConfig
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import DataError
from agent_gym_env.export.rows import ConversationRow, conversation, only_last_learned
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.policies.acts_expert import ActsExpert
from agent_gym_env.rollout.episode import Episode, SimulatedUser, add_step, transcript
from agent_gym_env.types import Action


class SimulatedCorrections:
    """Plays recorded episodes of ``SGDSim-v0`` again, and asks the acts oracle at each step.

    Args:
        corpus: corpus of the episodes, as in `agent_gym_env.corpus.corpus.open_corpus`.
    """

    def __init__(self, corpus: CorpusConfig = "sample") -> None:
        self._corpus = corpus
        self._envs: dict[str, SGDSimEnv] = {}

    def rows(
        self, episode: Episode, below: float, *, rules: str = RULES
    ) -> Iterator[ConversationRow]:
        """Yield a row for each step of the turns after which too little was earned.

        The policy's earlier messages have ``"weight": 0``.

        Args:
            episode: episode of a simulated dialogue, as it was played.
            below: turns with this value or a higher one, or without one, are not corrected; see
                `Episode.turn_values`.
            rules: text of the system message.

        Raises:
            DataError: the episode is inconsistent, of another corpus, or cannot be played again.
        """
        if episode.simulated_user is None or not episode.turns:
            return
        env = self._env(episode, episode.simulated_user)
        expert, tools = ActsExpert(env), read_tools(episode.tools)
        where = {"dialogue_id": episode.dialogue_id}
        observation, _ = env.reset(seed=episode.seed, options=where)
        played = zip(episode.turns, transcript(episode), episode.turn_values, strict=True)
        for number, (turn, messages, value) in enumerate(played):
            log = messages.opening
            for step in turn.steps:
                if observation["messages"] != log.messages:
                    raise DataError(
                        "played again, the dialogue goes another way than recorded. Corrections "
                        "need the version of this package that played it, no language model as "
                        "the user, and the default max_tool_calls_per_turn",
                        dialogue_id=episode.dialogue_id,
                        turn=number,
                    )
                advice = expert.advise(observation)
                if value is not None and value < below:
                    answered = conversation(_with(log, advice), episode.date, rules)
                    yield ConversationRow(
                        messages=only_last_learned(answered),
                        tools=tools,
                        dialogue_id=episode.dialogue_id,
                        split=episode.split,
                        policy=episode.policy,
                        reward=value,
                    )
                observation, _, _, _, info = env.step(step.action)
                meaning = env.simulation.agent_turn if info["user_understood"] else None
                expert.note(env.simulation.last_action, meaning)
                add_step(log, step)

    def _env(self, episode: Episode, user: SimulatedUser) -> SGDSimEnv:
        """Return the environment that an episode was played in."""
        key = f"{episode.split} {episode.schema_variant} {user.options}"
        if key not in self._envs:
            options: dict[str, Any] = {"corpus": self._corpus, **user.options}
            options["user"] = {"name": "agenda", **options.get("user", {})}
            variant = episode.schema_variant
            self._envs[key] = SGDSimEnv(split=episode.split, schema_variant=variant, **options)
        env = self._envs[key]
        if env.split.fingerprint != episode.corpus:
            raise DataError(
                f"the episode is of the corpus {episode.corpus}, found {env.split.fingerprint}: "
                "name the corpus that it was played on, on the command line with --corpus",
                dialogue_id=episode.dialogue_id,
            )
        return env


def _with(log: MessageLog, advice: Action) -> str:
    """Return the conversation with the oracle's action at its end, as JSON."""
    answered = log.copy()
    if advice.tool_calls:
        answered.add_calls(advice.tool_calls)
    else:
        answered.add_reply(advice.text)
    return answered.messages
