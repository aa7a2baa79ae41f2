"""Corpora of recorded dialogues: their format, their compiled form and how to open them."""

from typing import TYPE_CHECKING

from agent_gym_env.lazy_names import lazy_names

if TYPE_CHECKING:
    from agent_gym_env.corpus.reader import CorpusReader as CorpusReader
    from agent_gym_env.corpus.sgd import Dialogue as Dialogue
    from agent_gym_env.corpus.sgd import DialogueAction as DialogueAction
    from agent_gym_env.corpus.sgd import DialogueState as DialogueState
    from agent_gym_env.corpus.sgd import Intent as Intent
    from agent_gym_env.corpus.sgd import Service as Service
    from agent_gym_env.corpus.sgd import ServiceCall as ServiceCall
    from agent_gym_env.corpus.sgd import Slot as Slot
    from agent_gym_env.corpus.sgd import SlotSpan as SlotSpan
    from agent_gym_env.corpus.sgd import SystemFrame as SystemFrame
    from agent_gym_env.corpus.sgd import SystemTurn as SystemTurn
    from agent_gym_env.corpus.sgd import UserFrame as UserFrame
    from agent_gym_env.corpus.sgd import UserTurn as UserTurn

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "reader": "CorpusReader",
        "sgd": (
            "Dialogue DialogueAction DialogueState Intent Service ServiceCall Slot SlotSpan "
            "SystemFrame SystemTurn UserFrame UserTurn"
        ),
    },
)
