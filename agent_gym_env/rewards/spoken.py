"""Whether a reply says the slot values that the recorded one says."""

from __future__ import annotations

from collections.abc import Sequence

from agent_gym_env.corpus.task import SpokenValue
from agent_gym_env.corpus.values import canonical, find_values
from agent_gym_env.corpus.words import words

_MAX_CHARS = 8192
"""Values are looked for no further; the longest recorded reply of SGD has 453 characters."""

_BOOLEANS = ("true", "false")
