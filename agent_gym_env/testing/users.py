"""The promises of a user of ``SGDSim-v0``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import structs

from agent_gym_env.assembly import Env, choose_dialogues, make_env
from agent_gym_env.corpus.goals import UserAct
from agent_gym_env.corpus.sgd import Service
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.testing.conformance import ODD_TEXT, Check, excerpt
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.mentions import Mentions
from agent_gym_env.users.options import make_user
from agent_gym_env.users.wording import (
    ActsToSay,
    TextToRead,
    Understood,
    UserReading,
    UserWording,
    UserWords,
    says_just,
)

_SINGLE_ACTS = ("AFFIRM", "NEGATE", "SELECT", "REQUEST_ALTS", "THANK_YOU", "GOODBYE", "UNCLEAR")


def check_user(
    user: str | Mapping[str, Any] | UserWording,
    env: Env | None = None,
    *,
    dialogues: int = 4,
    seed: int = 0,
    deterministic: bool = True,
) -> None:
    """Check that a user keeps the promises of `agent_gym_env.users.wording.UserWording`.

    The acts oracle plays dialogues with it. Each turn's acts are put into words twice, after an odd
    text of the agent, and with other values. A user with the method ``read`` also reads texts.

    Args:
        user: an object, or a configuration as ``user`` in ``gym.make("SGDSim-v0", …)``.
        env: ``SGDSim-v0``, whose dialogues are played; by default the ``dev`` split of the embedded
            corpus.
        dialogues: how many dialogues are played.
        seed: seed of the choice of dialogues.
        deterministic: whether the same acts get the same words; a model that samples cannot promise
            that.

    Raises:
        ConformanceError: a promise is broken.
        LMError: the user's language model did not answer.

    Examples:
        >>> check_user("agenda", dialogues=1)
    """
    if env is None:
        env = make_env(env="SGDSim-v0", split="dev", understanding="acts")
    bare = env.unwrapped
    if not isinstance(bare, SGDSimEnv):
        raise TypeError(f"env must be SGDSim-v0, not {type(bare).__name__}")
    check = Check("user", _name(user))
    wording = user
    if isinstance(user, (str, Mapping)):
        wording = make_user(user, bare.split, bare.corpus)[1]
    check.require_methods(wording, "words")
    speaker = _CheckedWording(check, wording, bare.split.schema, deterministic=deterministic)
    settings = bare.settings
    bare.settings = structs.replace(settings, wording=speaker)
    try:
        for dialogue_id in choose_dialogues(env, dialogues, seed):
            _play(bare, dialogue_id)
    finally:
        bare.settings = settings
    if isinstance(wording, UserReading):
        _check_reading(check, wording, bare)


def _name(user: object) -> object:
    if isinstance(user, Mapping):
        return user.get("name")
    return user if isinstance(user, str) else type(user).__name__


def _play(env: SGDSimEnv, dialogue_id: str) -> None:
    policy = ActsOraclePolicy(env)
    policy.reset()
    observation, _ = env.reset(options={"dialogue_id": dialogue_id})
    over = False
    while not over:
        observation, _, over, _, _ = env.step(policy.act(observation))


class _CheckedWording:
    """Checks all words of a user."""

    def __init__(
        self, check: Check, wording: Any, services: Iterable[Service], *, deterministic: bool
    ) -> None:
        self._check = check
        self._wording = wording
        self._intents = {
            (service.service_name, intent.name): f"{_spaced(intent.name)} {intent.description}"
            for service in services
            for intent in service.intents
        }
        self._deterministic = deterministic

    def words(self, said: ActsToSay) -> UserWords:
        """Return the user's words, after the checks."""
        words = self._words(said)
        if self._deterministic:
            again = self._words(said)
            promise = "the same acts get the same words"
            where = _where(said)
            self._check.require(again == words, promise, excerpt(words), again, where)
        for other in _others(said):
            self._words(other)
        return words

    def _words(self, said: ActsToSay) -> UserWords:
        check, where = self._check, _where(said)
        before = msgspec.json.encode(said)
        words = check.call("never raises for acts", where, self._wording.words, said)
        same = msgspec.json.encode(said) == before
        check.require(same, "does not change the acts", "the acts as they were", "others", where)
        if not isinstance(words, UserWords):
            check.fail("returns UserWords", "an instance of UserWords", excerpt(words), where)
        promise = "says something"
        holds = isinstance(words.text, str) and bool(words.text.strip())
        check.require(holds, promise, "a text that is not empty", words.text, where)
        promise = "names its source"
        holds = isinstance(words.source, str) and re.fullmatch(r"\w+", words.source) is not None
        check.require(holds, promise, "a word for the counters", words.source, where)
        self._check_values(said, words.text, where)
        return words

    def _names(self, acts: Iterable[UserAct]) -> str:
        """Return the names of slots and intents: words for them may be values of other slots."""
        intents = [self._intents.get((act.service, act.value), "") for act in acts]
        return " ".join([*(act.slot.replace("_", " ") for act in acts), *intents])

    def _check_values(self, said: ActsToSay, text: str, where: str) -> None:
        check, today = self._check, said.task.date
        # An alias counts where the recorded user said it in the same place.
        recorded = "" if said.turn is None else said.task.turns[said.turn].user
        marked = {p.slot for p in said.places if recorded[p.start : p.end] in text}
        promise = "says the value of each act"
        values = [act.value for act in said.acts if act.act == "INFORM"]
        says = says_just(text, said.acts, (), today, marked)
        check.require(says, promise, f"the values {values}", text, where)
        promise = "says no other wish"
        inherent = Mentions(self._names(said.acts), today)
        wishes = [wish for wish in said.wishes if not inherent.has(wish)]
        just = says_just(text, said.acts, wishes, today, marked)
        check.require(just, promise, "none of the goal's other values", text, where)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def _where(said: ActsToSay) -> str:
    return f"dialogue {said.task.dialogue_id}, acts {excerpt(said.acts)}"


def _others(said: ActsToSay) -> Iterator[ActsToSay]:
    """Yield the acts after an odd text, each of them alone, and with other values."""
    yield structs.replace(said, answered=ODD_TEXT)
    for act in said.acts:
        yield structs.replace(said, acts=(act,), turn=None, recorded=(), places=())
        if act.act == "INFORM" and act.value not in ("True", "False", "dontcare"):
            other = structs.replace(act, value="Qwert 17")
            acts = tuple(other if each is act else each for each in said.acts)
            yield structs.replace(said, acts=acts, wishes=frozenset())
    service = said.acts[0].service
    for kind in _SINGLE_ACTS:
        act = UserAct(service, kind)
        yield structs.replace(said, acts=(act,), turn=None, recorded=(), places=())


def _check_reading(check: Check, reader: UserReading, env: SGDSimEnv) -> None:
    """Let a user read texts that an agent may write, and texts that say nothing."""
    today = env.split.task(env.selected[0]).date
    for text in ("", "  ", "What else can I do?", ODD_TEXT, "{" * 100):
        heard = TextToRead(text, "Hello.", env.split.tools, (), today)
        where = f"text {excerpt(text)!r}"
        found = check.call("reads every text", where, reader.read, heard)
        promise = "returns what it understood"
        holds = isinstance(found, Understood) and all(isinstance(a, DialogueAct) for a in found[0])
        check.require(holds, promise, "Understood with a tuple of DialogueAct", found, where)
        promise = "finds nothing in a text that says nothing"
        check.require(bool(text.strip()) or not found.acts, promise, "no acts", found, where)
