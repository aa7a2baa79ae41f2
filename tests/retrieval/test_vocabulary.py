from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.retrieval.vocabulary import Vocabulary, VocabularyBuilder, kind_of_value
from tests.retrieval.scenes import FIND, ORDER, TOOLS


def counted(*turns: Turn) -> Vocabulary:
    builder = VocabularyBuilder(TOOLS)
    builder.add(Task("1", ("Teas_1",), turns, TODAY))
    return builder.build()


def call(tool: str, forms: dict[str, tuple[str, ...]] | None = None, /, **arguments: str) -> Turn:
    recorded = RecordedCall(tool, arguments, "success", "[]", forms or {})
    return Turn("hello", "Here.", "Teas_1", recorded)


def test_values_have_kinds() -> None:
    values = ["tomorrow", "5 pm", "$1,200", "True", "Uji", "24"]
    kinds = [kind_of_value(value, TODAY) for value in values]
    assert kinds == ["date", "time", "number", "boolean", "text", "number"]


def test_spoken_forms_lead_to_the_canonical_value() -> None:
    known = counted(call(FIND, {"origin": ("the old town",)}, kind="green", origin="Uji"))
    assert known.value_of_phrase("the old town", "origin") == "Uji"
    assert known.slots_of_phrase("uji") == ["origin"]


def test_a_phrase_of_another_slot_is_borrowed_for_one_with_shared_words() -> None:
    known = counted(call(ORDER, {"name": ("sencha tea",)}, name="Sencha", grams="50"))
    assert known.value_of_phrase("sencha tea", "tea_name") == "Sencha"


def test_a_listed_value_is_found_among_those_allowed() -> None:
    known = counted(call(FIND, {"kind": ("dark",)}, kind="black"))
    assert known.value_among("dark", ("green", "black")) == "black"
    assert known.value_among("dark", ("green",)) is None


def test_a_word_that_is_seldom_a_value_is_not_a_phrase() -> None:
    chatter = [Turn("will it come", "Yes.", "Teas_1") for _ in range(9)]
    known = counted(call(FIND, kind="green", origin="Will"), *chatter)
    assert "will" not in known.phrases


def test_verbs_tell_queries_from_transactions() -> None:
    known = counted()
    assert known.is_query("FindCakes")
    assert not known.is_query("OrderFlowers")
    assert not known.is_query("Unheard")


def test_words_tell_the_kind_of_a_slot() -> None:
    known = counted(call(ORDER, name="Sencha", grams="50"), call(ORDER, name="Assam", grams="7"))
    assert known.kind_of_slot("grams", "") == "number"
    assert known.kind_of_slot("name", "") == "text"
    assert known.kind_of_slot("unheard", "") == "text"


def test_dates_are_said_as_the_system_says_them() -> None:
    said = Turn("when", "On the 2nd.", "Teas_1", None, (SpokenValue("day", "the 2nd"),))
    assert counted(said).dates == {"2019-03-02": "the 2nd"}
