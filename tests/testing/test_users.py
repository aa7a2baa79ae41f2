"""Each promise of a user is checked: a user that breaks it is refused by its name."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec import structs

from agent_gym_env.assembly import make_env
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.errors import TransientLMError
from agent_gym_env.testing import ConformanceError, ScriptedLM, check_user
from agent_gym_env.types import DialogueAct
from agent_gym_env.users.llm import ReadingLLMUser
from agent_gym_env.users.wording import (
    ActsToSay,
    AgendaWording,
    TextToRead,
    Understood,
    UserWords,
)


def _agenda() -> AgendaWording:
    env = make_env(env="SGDSim-v0", split="dev", understanding="acts").unwrapped
    assert isinstance(env, SGDSimEnv)
    return AgendaWording.of_split(env.split, env.corpus)


class Sound:
    """The agenda's words."""

    def __init__(self) -> None:
        self.agenda = _agenda()

    def words(self, said: ActsToSay) -> Any:
        return self.agenda.words(said)


class NoWords:
    words = "Hello."


class Raising(Sound):
    def words(self, said: ActsToSay) -> Any:
        if "🍵" in said.answered:
            raise UnicodeError("what is this?")
        return super().words(said)


class Changing(Sound):
    def words(self, said: ActsToSay) -> Any:
        words = super().words(said)
        structs.force_setattr(said, "acts", ())
        return words


class Bare(Sound):
    def words(self, said: ActsToSay) -> Any:
        return super().words(said).text


class Silent(Sound):
    def words(self, said: ActsToSay) -> Any:
        return UserWords(" ", "own")


class Nameless(Sound):
    def words(self, said: ActsToSay) -> Any:
        return super().words(said)._replace(source="my own source")


class Vague(Sound):
    def words(self, said: ActsToSay) -> Any:
        return UserWords("The usual, please.", "own")


class Gossip(Sound):
    def words(self, said: ActsToSay) -> Any:
        words = super().words(said)
        return words._replace(text=f"{words.text} And then {', '.join(sorted(said.wishes))}.")


class Moody(Sound):
    def __init__(self) -> None:
        super().__init__()
        self.moods = itertools.cycle(["", " Hm."])

    def words(self, said: ActsToSay) -> Any:
        words = super().words(said)
        return words._replace(text=words.text + next(self.moods))


class Deaf(Sound):
    def read(self, heard: TextToRead) -> Any:
        if "{" in heard.text:
            raise ValueError("no JSON")
        return Understood(())


class Unsure(Sound):
    def read(self, heard: TextToRead) -> Any:
        return ["REQ_MORE"]


class Imaginative(Sound):
    def read(self, heard: TextToRead) -> Any:
        return Understood((DialogueAct("NOTIFY_SUCCESS"),))


BROKEN: list[tuple[str, type[Any]]] = [
    ("has the methods of its protocol", NoWords),
    ("never raises for acts", Raising),
    ("does not change the acts", Changing),
    ("returns UserWords", Bare),
    ("says something", Silent),
    ("names its source", Nameless),
    ("says the value of each act", Vague),
    ("says no other wish", Gossip),
    ("the same acts get the same words", Moody),
    ("reads every text", Deaf),
    ("returns what it understood", Unsure),
    ("finds nothing in a text that says nothing", Imaginative),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_named(promise: str, broken: type[Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_user(broken(), dialogues=2)
    assert caught.value.promise == promise
    assert broken.__name__ in str(caught.value)


def test_the_packages_own_user_keeps_its_promises() -> None:
    check_user("agenda", dialogues=12)
    check_user({"name": "agenda", "miss": 0.1}, dialogues=2)


def test_a_user_that_samples_is_checked_without_comparisons() -> None:
    check_user(Moody(), dialogues=2, deterministic=False)


def test_a_user_by_language_model_keeps_its_promises() -> None:
    check_user(ReadingLLMUser(ScriptedLM(lambda request: "no JSON"), _agenda()), dialogues=2)


def test_the_failure_of_a_model_is_let_through() -> None:
    user = ReadingLLMUser(ScriptedLM([TransientLMError("busy")]), _agenda())
    with pytest.raises(TransientLMError):
        check_user(user)


def test_the_environment_keeps_its_own_user() -> None:
    env = make_env(env="SGDSim-v0", split="dev", understanding="acts")
    assert isinstance(env.unwrapped, SGDSimEnv)
    before = env.unwrapped.settings
    check_user("agenda", env, dialogues=1)
    assert env.unwrapped.settings is before


def test_another_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="env must be SGDSim-v0, not SGDEnv"):
        check_user("agenda", make_env(split="dev"))
