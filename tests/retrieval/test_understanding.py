from agent_gym_env.retrieval.state import State
from agent_gym_env.retrieval.understanding import Question, call_question, update_state
from tests.retrieval.scenes import FIND, GYOKURO, ORDER, SENCHA, answering, state


def heard(user: str, answers: dict[str, str | None], scene: State | None = None) -> State:
    """Listen; answers are by what is asked: ``tool``, ``row``, or a mention's or slot's name."""

    def answer(question: Question) -> str | None:
        if question.mention is not None:
            return answers.get(question.mention.text)
        return answers.get(question.slot.name if question.slot else question.topic)

    scene = scene or state(None)
    update_state(scene, user, answering(answer))
    return scene


def test_a_mention_fills_the_slot_that_it_is_said_to_fill() -> None:
    scene = heard("Send 50 grams of Oolong", {"tool": ORDER, "50": "grams", "Oolong": "name"})
    values = {slot: filled.value for slot, filled in scene.values["Teas_1"].items()}
    assert values == {"grams": "50", "name": "Oolong"}
    assert scene.tool_is_new


def test_one_slot_takes_one_mention_of_a_turn() -> None:
    scene = heard("Oolong, or Assam", {"tool": ORDER, "Oolong": "name", "Assam": "name"})
    assert scene.values["Teas_1"]["name"].value == "Oolong"


def test_a_listed_value_is_written_as_the_schema_has_it() -> None:
    scene = heard("GREEN teas please", {"tool": FIND, "GREEN": "kind"})
    assert scene.values["Teas_1"]["kind"].value == "green"


def test_a_mention_that_no_slot_takes_is_remembered_as_a_guess() -> None:
    scene = heard("something with Oolong", {"tool": ORDER})
    assert "name" not in scene.values.get("Teas_1", {})
    assert scene.guesses["Teas_1", "name"].value == "Oolong"


def test_yes_and_no_are_inferred() -> None:
    scene = heard("please wrap it", {"tool": ORDER, "wrapped": "True"})
    assert scene.values["Teas_1"]["wrapped"].value == "True"


def test_a_missing_value_is_taken_over_from_another_service() -> None:
    before = state(ORDER)
    before.fill("Teas_1", "name", "Sencha", "sencha")
    scene = heard("and a cake to it", {"tool": "Cakes_1-Order", "cake": "Sencha"}, before)
    assert scene.values["Cakes_1"]["cake"].value == "Sencha"


def test_asking_for_another_one_goes_to_the_next_row() -> None:
    before = state(FIND)
    before.record_call(FIND, {"kind": "green"}, "success", [SENCHA, GYOKURO])
    scene = heard("anything else?", {"tool": FIND, "row": "next"}, before)
    assert scene.row["Teas_1"] is GYOKURO
    assert scene.has_moved_on


def test_what_could_be_called_before_the_user_spoke_is_kept() -> None:
    before = state(ORDER)
    before.fill("Teas_1", "name", "Sencha", "sencha")
    before.fill("Teas_1", "grams", "50", "50")
    scene = heard("yes", {"tool": ORDER}, before)
    assert scene.ready == {ORDER: {"name": "Sencha", "grams": "50", "wrapped": "False"}}


def test_without_tools_the_user_turn_is_still_recorded() -> None:
    scene = state(None)
    scene.tools.by_name.clear()
    update_state(scene, "hello", answering(lambda question: None))
    assert scene.tool is None
    assert scene.stems == ["hello"]
    assert call_question(scene) is None


def test_only_tools_of_the_service_may_be_called() -> None:
    question = call_question(state(FIND))
    assert question is not None
    assert question.answers == [None, FIND, ORDER]
