import numpy as np

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.retrieval.linear_classifier import TrainableClassifier
from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.training import RecordedAnswers, record_call_of, train_on_dialogue
from agent_gym_env.retrieval.understanding import Question, call_question, update_state
from tests.retrieval.scenes import FIND, ORDER, state

ROWS = (
    '[{"name":"Sencha","kind":"green","origin":"Uji","price":"9"},'
    '{"name":"Gyokuro","kind":"green","origin":"Yame","price":"30"}]'
)
SEARCH = RecordedCall(FIND, {"kind": "green"}, "success", ROWS)
WRAPPED = {"name": "Gyokuro", "grams": "50", "wrapped": "True"}
BOUGHT = RecordedCall(ORDER, WRAPPED, "success", "[]", {"name": ("the second one",)})
TASK = Task(
    "1",
    ("Teas_1",),
    (
        Turn("Any green tea?", "There is Sencha.", "Teas_1", SEARCH),
        Turn("Another one?", "Gyokuro, from Yame.", "Teas_1"),
        Turn("50 grams of the second one, wrapped.", "Wrapped, 50 grams?", "Teas_1"),
        Turn("Yes.", "Done.", "Teas_1", BOUGHT),
        Turn("Thanks.", "Bye.", "Teas_1"),
    ),
    TODAY,
)


def answers_in(index: int) -> dict[str, str | None]:
    """Return the recorded answers of each turn by question."""
    scene, given = state(None), {}
    for place, turn in enumerate(TASK.turns[: index + 1]):
        recorded = RecordedAnswers(
            TrainableClassifier(np.random.default_rng(0)), TASK, place, scene
        )
        given = listen(scene, turn, recorded)
        record_call_of(scene, turn)
        scene.record_reply(turn.text)
    return given


def listen(scene: State, turn: Turn, recorded: RecordedAnswers) -> dict[str, str | None]:
    given: dict[str, str | None] = {}

    def decide(question: Question) -> np.ndarray:
        certain = recorded.answer(question)
        asked = question.mention.text if question.mention else None
        asked = asked or (question.slot.name if question.slot else question.topic)
        given[asked] = question.answers[int(certain.argmax())]
        return certain

    update_state(scene, turn.user, decide)
    question = call_question(scene)
    assert question is not None
    decide(question)
    return given


def test_the_tool_is_the_one_that_is_called_next() -> None:
    assert answers_in(0)["tool"] == FIND
    assert answers_in(2)["tool"] == ORDER


def test_after_the_last_call_the_tool_stays() -> None:
    assert answers_in(4)["tool"] == ORDER


def test_a_mention_fills_the_slot_that_gets_its_value() -> None:
    assert answers_in(0)["green"] == "kind"
    assert answers_in(2)["50"] == "grams"


def test_a_call_is_due_where_one_was_recorded() -> None:
    assert [answers_in(index)["call"] for index in range(5)] == [FIND, None, None, ORDER, None]


def test_a_value_belongs_to_the_turn_that_speaks_of_its_slot() -> None:
    assert answers_in(2)["wrapped"] == "True"
    assert answers_in(3)["wrapped"] is None


def test_the_next_row_is_gone_to_where_the_reply_names_it() -> None:
    assert answers_in(1)["row"] == "next"


def test_a_dialogue_leaves_the_state_as_the_corpus_left_it() -> None:
    scene = state(None)
    train_on_dialogue(TrainableClassifier(np.random.default_rng(0)), TASK, scene)
    assert scene.calls == {FIND: {"kind": "green"}, ORDER: WRAPPED}
