"""Plays the recorded agent of a dialogue to the simulated user, act for act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent_gym_env.corpus.corpus import Corpus, Split
from agent_gym_env.corpus.goals import Goal, UserAct, action_value, read_goal, user_acts
from agent_gym_env.corpus.sgd import Dialogue, SystemTurn, UserTurn
from agent_gym_env.rewards.task import Verdict
from agent_gym_env.tools.stateful import StatefulServices, rows_of
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import DialogueAct, ToolCall
from agent_gym_env.users.agenda import AgendaUser
from agent_gym_env.users.agent_turn import read_acts
from agent_gym_env.users.verdict import judge


class Reaction(NamedTuple):
    """The user's answer to a recorded turn of the agent, and the recorded user's answer."""

    made: frozenset[UserAct]
    recorded: frozenset[UserAct]


class Played(NamedTuple):
    """A dialogue up to the first answer that differs from the recorded one."""

    dialogue_id: str
    reactions: list[Reaction]
    verdict: Verdict

    def is_exact(self) -> bool:
        """Return whether every answer equals the recorded user's."""
        return all(reaction.made == reaction.recorded for reaction in self.reactions)


def play_recorded(corpus: Corpus, name: str) -> Iterator[Played]:
    """Play the recorded agent of every dialogue of a split."""
    split = corpus.split(name)
    catalogue = ToolCatalogue(split.tools)
    for index, dialogue in enumerate(corpus.annotated_dialogues(name)):
        goal = read_goal(dialogue, split.tools)
        if goal.errands:
            yield _play(split, catalogue, index, dialogue, goal)


def _play(
    split: Split, catalogue: ToolCatalogue, index: int, dialogue: Dialogue, goal: Goal
) -> Played:
    task = split.task(index)
    services = StatefulServices(catalogue, split.entities)
    services.reset(task)
    user = AgendaUser(goal, split.tools, task.date)
    user.open()
    reactions = []
    for number in range(1, len(dialogue.turns), 2):
        turn = dialogue.turns[number]
        assert isinstance(turn, SystemTurn)
        frame = turn.frames[0]
        if frame.service_call is not None:
            method = frame.service_call.method
            call = ToolCall(f"{frame.service}-{method}", dict(frame.service_call.parameters))
            result = services.execute(call)
            spec = split.tools[call.name]
            user.note_result(spec, call.arguments, result.status, rows_of(result))
        acts = [DialogueAct(act.act, act.slot, action_value(act)) for act in frame.actions]
        made = user.react(read_acts(acts, user.state.rows, task.date))
        following = dialogue.turns[number + 1] if number + 1 < len(dialogue.turns) else None
        if isinstance(following, UserTurn):
            reactions.append(Reaction(frozenset(made), frozenset(user_acts(following))))
            if reactions[-1].made != reactions[-1].recorded:
                break
    return Played(dialogue.dialogue_id, reactions, judge(goal, user.state, services.state.queried))
