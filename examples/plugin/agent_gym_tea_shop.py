"""A policy, a reward and a corpus of your own, in a package of your own.

After ``pip install`` their names work everywhere: ``--policy echo``, ``reward="brevity"``,
``corpus="tea-shop"``. Without the installation ``agent_gym_tea_shop:Echo`` works, too.
"""

from collections.abc import Iterator, Sequence

from agent_gym_env import (
    Action,
    ClosedTurn,
    Observation,
    Score,
    register_corpus,
    register_policy,
    register_reward,
)
from agent_gym_env.corpus import (
    Dialogue,
    Intent,
    Service,
    ServiceCall,
    Slot,
    SystemFrame,
    SystemTurn,
    UserTurn,
)


class Echo:
    """Repeats the user's words and calls no tool.

    Args:
        prefix: words said before the user's.
    """

    name = "echo"

    def __init__(self, *, prefix: str = "You said: ") -> None:
        self._prefix = prefix

    def reset(self, *, seed: int | None = None) -> None:
        """Begin an episode; nothing is drawn."""

    def act(self, observation: Observation) -> Action:
        """Repeat what the user said."""
        return Action(text=self._prefix + observation["user"])


class Brevity:
    """Scores 1 for a reply that is no longer than the recorded one, less for a longer one."""

    name = "brevity"
    parts = ("words_saved",)

    def score(self, turn: ClosedTurn) -> Score:
        """Score a turn in [0, 1]; silence scores 0."""
        count, expected = len(turn.text.split()), len(turn.target.text.split())
        value = min(1.0, expected / count) if count else 0.0
        return Score(value, {"words_saved": value})


class TeaShop:
    """Reads dialogues about tea; a real reader would read files.

    Args:
        dialogues: number of dialogues of each split.
    """

    name = "tea-shop"

    def __init__(self, dialogues: int = 20) -> None:
        self._dialogues = dialogues

    def splits(self) -> Sequence[str]:
        """Return the names of the splits."""
        return ("train", "dev")

    def fingerprint(self) -> str:
        """Return a text that changes when the dialogues do."""
        return f"version 1, {self._dialogues} dialogues"

    def tools(self, split: str) -> Sequence[Service]:
        """Return the one service of the corpus, with one tool: ``Tea_1-FindTea``."""
        slots = [Slot("kind", "kind of tea", False, []), Slot("price", "price", False, [])]
        find = Intent("FindTea", "find a tea", False, ["kind"], {}, ["kind", "price"])
        return [Service("Tea_1", "a shop for tea", slots, [find])]

    def dialogues(self, split: str) -> Iterator[Dialogue]:
        """Yield dialogues of two turns."""
        first = 0 if split == "train" else self._dialogues
        for number in range(first, first + self._dialogues):
            kind, price = ("green", "black", "white")[number % 3], str(2 + number)
            call = ServiceCall("FindTea", {"kind": kind})
            answer = SystemFrame("Tea_1", [], [], call, [{"kind": kind, "price": price}])
            yield Dialogue(
                f"tea-{number}",
                ["Tea_1"],
                [
                    UserTurn(f"I would like {kind} tea, please.", []),
                    SystemTurn(f"We have {kind} tea for {price} dollars.", [answer]),
                    UserTurn("Thank you, goodbye.", []),
                    SystemTurn("Goodbye.", [SystemFrame("Tea_1", [], [])]),
                ],
            )


def register() -> None:
    """Register the names; the entry point in ``pyproject.toml`` names this function."""
    register_policy("echo", Echo)
    register_reward("brevity", Brevity)
    register_corpus("tea-shop", TeaShop)
