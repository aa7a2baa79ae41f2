"""A user's words say the values of the acts, and no other wish."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path

import pytest
from msgspec import structs

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.goals import Goal, Kind, Place, UserAct
from agent_gym_env.corpus.task import Task, Turn
from agent_gym_env.envs.sgd_sim import SGDSimEnv
from agent_gym_env.policies.acts_oracle import ActsOraclePolicy
from agent_gym_env.storage.cache_folder import HOME_VARIABLE
from agent_gym_env.users.mentions import Mentions
from agent_gym_env.users.own_phrases import OwnPhrases, spoken
from agent_gym_env.users.phrase_book import (
    PhraseBook,
    _read_book,
    _template,
    load_or_mine,
    mine,
    recorded_turns,
)
from agent_gym_env.users.wording import ActsToSay, AgendaWording, UserWords, says_just

TODAY = "2019-03-01"


class _Watched:
    """A wording that keeps what it was asked, and what it said."""

    def __init__(self, wording: AgendaWording) -> None:
        self._wording = wording
        self.said: list[tuple[ActsToSay, UserWords]] = []

    def words(self, said: ActsToSay) -> UserWords:
        words = self._wording.words(said)
        self.said.append((said, words))
        return words


def _play(env: SGDSimEnv, count: int | None = None) -> list[tuple[ActsToSay, UserWords]]:
    """Let the acts oracle play dialogues; return all turns of the user."""
    watched = _Watched(AgendaWording.of_split(env.split, env.corpus))
    env.settings = structs.replace(env.settings, wording=watched)
    policy = ActsOraclePolicy(env)
    for index in islice(env.selected, count):
        policy.reset()
        options = {"dialogue_id": env.split.dialogue_ids()[index]}
        observation, _ = env.reset(options=options)
        over = False
        while not over:
            observation, _, over, _, _ = env.step(policy.act(observation))
    return watched.said


def _is_right(said: ActsToSay, words: UserWords) -> bool:
    """Return whether words are as promised.

    A recorded alias of a value counts where the annotation marks it, and so does a wish that the
    name of the intent says, such as "new alarm".
    """
    today = said.task.date
    names = " ".join(re.sub(r"(?<!^)(?=[A-Z])", " ", act.value) for act in said.acts)
    names += " ".join(act.slot.replace("_", " ") for act in said.acts) + " set a new alarm"
    inherent = Mentions(names if words.source == "own" else "", today)
    wishes = [wish for wish in said.wishes if not inherent.has(wish)]
    marked = {place.slot for place in said.places} if words.source == "recorded" else set()
    return bool(words.text.strip()) and says_just(words.text, said.acts, wishes, today, marked)


def _check(said: list[tuple[ActsToSay, UserWords]], what: str, least: float) -> None:
    wrong = [each for each in said if not _is_right(*each)]
    assert not wrong, wrong[:3]
    sources = Counter(words.source for _, words in said)
    shares = {source: round(count / len(said), 4) for source, count in sources.items()}
    print(f"{what}: {len(said)} turns of the user, words {shares}")
    assert shares["recorded"] >= least


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_every_turn_says_its_acts_and_no_other_wish(split: str) -> None:
    _check(_play(SGDSimEnv("sample", split, understanding="acts")), f"sample {split}", 0.8)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_every_turn_on_sgd_says_its_acts_and_no_other_wish(sgd_path: Path, split: str) -> None:
    _check(_play(SGDSimEnv(str(sgd_path), split, understanding="acts"), 300), f"SGD {split}", 0.75)


def _say(
    words: str,
    acts: list[UserAct],
    recorded: list[UserAct] | None = None,
    *,
    places: tuple[Place, ...] = (),
    wishes: frozenset[str] = frozenset(),
    book: PhraseBook | None = None,
    after: Kind = "request",
) -> UserWords:
    """Return the words for acts where the recorded user said some words."""
    task = Task("1", ("Trains_1",), (Turn(words, "", "Trains_1"),), TODAY)
    wording = AgendaWording(book or PhraseBook({}), OwnPhrases([]))
    said = ActsToSay(
        tuple(acts), task, after, 0, tuple(acts if recorded is None else recorded), places, wishes
    )
    return wording.words(said)


def _inform(slot: str, value: str) -> UserAct:
    return UserAct("Trains_1", "INFORM", slot, value)


def test_the_recorded_sentence_is_said_as_it_is() -> None:
    said = _say("To Boston, half past five pm.", [_inform("to", "Boston"), _inform("t", "17:30")])
    assert said == ("To Boston, half past five pm.", "recorded")


def test_a_value_of_this_play_replaces_the_recorded_one() -> None:
    recorded = [_inform("to", "Boston"), _inform("day", "2019-03-08")]
    acts = [_inform("to", "Reno"), _inform("day", "2019-03-22")]
    said = _say("To boston next Friday, please.", acts, recorded)
    assert said == ("To Reno March 22nd, please.", "recorded")


def test_a_marked_alias_is_replaced_in_its_place() -> None:
    places = (Place("to", 3, 7),)
    said = _say("To Bean Town.", [_inform("to", "Reno")], [_inform("to", "Boston")], places=places)
    assert said.text == "To Reno Town."
    places = (Place("to", 3, 12),)
    said = _say("To Bean Town.", [_inform("to", "Reno")], [_inform("to", "Boston")], places=places)
    assert said == ("To Reno.", "recorded")


def test_a_marked_alias_says_its_value() -> None:
    places = (Place("to", 3, 12),)
    assert _say("To Bean Town.", [_inform("to", "Boston")], places=places).source == "recorded"
    assert _say("To Bean Town.", [_inform("to", "Boston")]) == ("The to should be Boston.", "own")


@pytest.mark.parametrize(
    ("words", "wishes"),
    [
        ("To Boston and then to Reno.", {"Reno"}),
        ("To Boston on March 8th.", {"2019-03-08"}),
        ("To Boston for 3 people.", {"3"}),
    ],
)
def test_a_recorded_sentence_that_says_another_wish_is_not_used(
    words: str, wishes: set[str]
) -> None:
    said = _say(words, [_inform("to", "Boston")], wishes=frozenset(wishes))
    assert said == ("The to should be Boston.", "own")


def test_a_pronoun_and_a_part_of_a_name_are_no_other_wish() -> None:
    wishes = frozenset({"1", "4"})
    select = UserAct("Trains_1", "SELECT")
    assert _say("I like that one.", [select], wishes=wishes).source == "recorded"
    said = _say("At The Big 4.", [_inform("name", "The Big 4")], wishes=wishes)
    assert said.source == "recorded"


def test_a_silent_value_is_not_exchanged() -> None:
    recorded = [_inform("parking", "True")]
    assert _say("With parking.", [_inform("parking", "False")], recorded).source == "own"


def test_a_template_is_filled_with_the_values_as_people_say_them() -> None:
    book = PhraseBook({"|Trains|INFORM:day INFORM:to": ("I go to {to} on {day}.",)})
    said = _say("", [_inform("to", "Reno"), _inform("day", "2019-03-22")], book=book)
    assert said == ("I go to Reno on March 22nd.", "mined")


def test_words_that_depend_on_the_question_are_kept_apart() -> None:
    book = PhraseBook({"more||NEGATE:": ("No, that's all.",)})
    negate = [UserAct("Trains_1", "NEGATE")]
    assert _say("", negate, book=book, after="more").source == "mined"
    assert _say("", negate, book=book, after="counter").source == "own"


def test_mined_templates_hold_no_value() -> None:
    split = open_corpus("sample").split("train")
    texts = [text for texts in mine(split).values() for text in texts]
    assert len(texts) > 500
    for text in texts:
        assert not re.search(r"\d", text), text
        assert "Austin" not in text


def test_words_with_braces_of_their_own_are_not_mined() -> None:
    for words, template in (
        ("I go to Reno.", "I go to {to}."),
        ("I {really} go to Reno.", None),
    ):
        task = Task("1", ("Trains_1",), (Turn(words, "", "Trains_1"),), TODAY)
        acts = (_inform("to", "Reno"),)
        assert _template(task, Goal(acts, ()), 0, acts) == template


def test_every_mined_template_says_its_acts() -> None:
    split = open_corpus("sample").split("train")
    book = load_or_mine(split)
    for index in range(40):
        task, goal = split.task(index), split.goal(index)
        for _, acts, situation in recorded_turns(goal):
            kind = situation.partition(":")[0]
            for template in book.templates(acts, kind, 0):  # type: ignore[arg-type]
                assert says_just(template.fill(acts, task.date), acts, (), task.date)


def test_the_book_is_mined_once_and_again_where_its_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = open_corpus("sample").split("train")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    entries = load_or_mine(split).entries
    [file] = (tmp_path / "user_phrases").glob("*.json")
    before = file.read_bytes()
    for content in (before, b"{", b'{"a": 1}'):
        file.write_bytes(content)
        _read_book.cache_clear()
        assert load_or_mine(split).entries == entries
        assert file.read_bytes() == before


def _combinations(acts: list[UserAct]) -> Iterator[tuple[UserAct, ...]]:
    for size in (1, 2, 3):
        yield from combinations(acts, size)


def test_our_own_phrases_say_every_combination_of_acts() -> None:
    split = open_corpus("sample").split("dev")
    phrases = OwnPhrases(split.schema)
    service = split.schema[0]
    name = service.service_name
    values = ["2019-03-08", "17:30", "3", "Big 4", "True", "dontcare", "2019-02-30", "25:99"]
    slots = [slot.name for slot in service.slots]
    acts = [UserAct(name, "INFORM", s, v) for s, v in zip(slots, values, strict=False)]
    acts += [
        UserAct(name, act)
        for act in ("NEGATE", "AFFIRM", "AFFIRM_INTENT", "NEGATE_INTENT", "SELECT", "REQUEST_ALTS",
                    "THANK_YOU", "GOODBYE", "UNCLEAR")
    ]  # fmt: skip
    acts.append(UserAct(name, "INFORM_INTENT", "intent", service.intents[0].name))
    acts.append(UserAct(name, "REQUEST", slots[0]))
    acts.append(UserAct(name, "SELECT", slots[1], "Big 4"))
    acts.append(UserAct("Unknown_1", "INFORM", "x", "y"))
    for number, chosen in enumerate(_combinations(acts)):
        for after in ("none", "confirm", "counter", "more"):
            text = phrases.words(chosen, after, TODAY, number)
            assert text.strip(), chosen
            informs = [act for act in chosen if act.act in ("INFORM", "SELECT")]
            assert all(Mentions(text, TODAY).has(act.value) for act in informs), (text, chosen)


def test_our_own_phrases_on_another_day_say_readable_dates() -> None:
    split = open_corpus("sample").split("dev")
    phrases = OwnPhrases(split.schema)
    service = split.schema[0]
    date = next(slot.name for slot in service.slots if "date" in slot.name or "day" in slot.name)
    act = UserAct(service.service_name, "INFORM", date, "2026-11-30")
    texts = {phrases.words([act], "request", "2026-11-29", draw) for draw in range(50)}
    assert len(texts) > 10
    assert all(Mentions(text, "2026-11-29").has("2026-11-30") for text in texts)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("17:30", "5:30 pm"),
        ("2019-03-08", "March 8th"),
        ("2019-02-30", "2019-02-30"),
        ("True", "yes"),
        ("Boston", "Boston"),
        ("00:00", "12 am"),
    ],
)
def test_spoken(value: str, words: str) -> None:
    assert spoken(value) == words
