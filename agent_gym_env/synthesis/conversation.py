"""The course of a dialogue: what user and system do, turn by turn, until the user's errands are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from agent_gym_env.corpus.sgd import DONTCARE, Dialogue
from agent_gym_env.synthesis.errand import Errand, changed_wish, found, plan
from agent_gym_env.synthesis.moves import Move, about, each, intent_move
from agent_gym_env.synthesis.service_model import Answer, Row, ServiceModel
from agent_gym_env.synthesis.transcript import NO_INTENT, Carried, Transcript

Task = tuple[ServiceModel, str | None, str | None]
"""A service with the search and the transaction that the user wants of it."""
