"""Each promise of a policy is checked: a policy that breaks it is refused by its name."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agent_gym_env.errors import PermanentLMError
from agent_gym_env.policies.constant import ConstantPolicy
from agent_gym_env.testing import ConformanceError, check_policy
from agent_gym_env.types import Action, Observation


class NoMethods:
    name = "no-methods"


class NoSeed(ConstantPolicy):
    def reset(self) -> None:  # type: ignore[override]
        """Take no seed."""


class Raising(ConstantPolicy):
    def act(self, observation: Observation) -> Action:
        raise KeyError("tool_result")


class Changing(ConstantPolicy):
    def act(self, observation: Observation) -> Action:
        observation.pop("user")  # type: ignore[attr-defined]
        return super().act(observation)


class NoAction(ConstantPolicy):
    def act(self, observation: Observation) -> Action:
        return 7  # type: ignore[return-value]


class Counting(ConstantPolicy):
    """Goes on counting from one episode to the next."""

    acts = 0

    def act(self, observation: Observation) -> Action:
        self.acts += 1
        return Action(f"This is answer {self.acts}.")


class Batched(ConstantPolicy):
    """Repeats the user, one by one or several at once."""

    def act(self, observation: Observation) -> Action:
        return Action(f"You said: {observation['user']}")

    def act_batch(
        self, observations: Sequence[Observation], *, seeds: Sequence[int | None] | None = None
    ) -> list[Action]:
        return [self.act(observation) for observation in observations]


class Disordered(Batched):
    def act_batch(self, observations: Sequence[Observation], **_: Any) -> list[Action]:
        return super().act_batch(observations[::-1])


class Short(Batched):
    def act_batch(self, observations: Sequence[Observation], **_: Any) -> list[Action]:
        return super().act_batch(observations[1:])


class Emptying(Batched):
    def act_batch(self, observations: Sequence[Observation], **_: Any) -> list[Action]:
        actions = super().act_batch(observations)
        observations[0].clear()  # type: ignore[attr-defined]
        return actions


class Nameless(ConstantPolicy):
    def __init__(self) -> None:
        super().__init__()
        self.name = ""


BROKEN: list[tuple[str, Callable[[], Any]]] = [
    ("has the methods of its protocol", NoMethods),
    ("has a name", Nameless),
    ("reset takes a seed or none", NoSeed),
    ("acts on every observation", Raising),
    ("does not change the observation", Changing),
    ("does not change the observation", Emptying),
    ("returns an action that step accepts", NoAction),
    ("the same seed gives the same actions", Counting),
    ("acts on the observation alone", lambda: "oracle"),
    ("act_batch equals act one by one", Disordered),
    ("act_batch equals act one by one", Short),
]


@pytest.mark.parametrize(("promise", "broken"), BROKEN)
def test_a_broken_promise_is_named(promise: str, broken: Callable[[], Any]) -> None:
    with pytest.raises(ConformanceError) as caught:
        check_policy(broken())
    assert caught.value.promise == promise


def test_a_policy_that_asks_the_environment_passes_where_that_is_said() -> None:
    check_policy("oracle", reads_env=True)


@pytest.mark.parametrize("sound", [ConstantPolicy, Batched])
def test_a_policy_that_keeps_its_promises_passes(sound: Callable[[], Any]) -> None:
    check_policy(sound())


def test_a_policy_that_does_not_repeat_itself_passes_where_that_is_said() -> None:
    check_policy(Counting(), deterministic=False)


def test_the_failure_of_a_language_model_breaks_no_promise() -> None:
    class Unanswered(ConstantPolicy):
        def act(self, observation: Observation) -> Action:
            raise PermanentLMError("no such model")

    with pytest.raises(PermanentLMError):
        check_policy(Unanswered())


def test_the_error_says_who_broke_what_where() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_policy(Counting("Hello.", name="mine"), dialogues=1)
    assert str(caught.value).startswith(
        "policy 'mine' breaks the promise 'the same seed gives the same actions' (dialogue 1_"
    )
    assert "answer 1" in caught.value.expected
    assert isinstance(caught.value, AssertionError)
    assert pickle.loads(pickle.dumps(caught.value)).found == caught.value.found
