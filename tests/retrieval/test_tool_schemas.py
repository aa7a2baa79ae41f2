from tests.retrieval.scenes import FIND, ORDER, tools


def test_a_query_is_recognised_by_its_verb() -> None:
    by_name = tools().by_name
    assert by_name[FIND].is_query
    assert not by_name[ORDER].is_query


def test_slots_tell_how_their_values_are_given() -> None:
    slots = tools().slots["Teas_1"]
    assert slots["kind"].kind == "listed"
    assert slots["wrapped"].is_boolean
    assert slots["grams"].kind == "number"
    assert tools().slots["Cakes_1"]["day"].kind == "date"


def test_no_preference_is_not_a_default() -> None:
    by_name = tools().by_name
    assert by_name[FIND].slots["origin"].default is None
    assert by_name[ORDER].slots["wrapped"].default == "False"


def test_missing_arguments_are_the_required_ones_that_are_not_given() -> None:
    tool = tools().by_name[ORDER]
    assert tool.missing({"grams": "50"}) == ["name"]
    assert tool.missing({"grams": "50", "name": "Sencha"}) == []


def test_listed_values_are_found_by_phrase() -> None:
    assert tools().listed_phrases["Teas_1"] == {"green": {"kind"}, "black": {"kind"}}


def test_slots_share_features_for_the_words_that_they_share() -> None:
    slots = tools().slots["Teas_1"]
    shared = set(slots["name"].features.tolist()) & set(slots["origin"].features.tolist())
    assert shared  # both are free text


def test_there_may_be_no_tools() -> None:
    from agent_gym_env.retrieval.tool_schemas import ToolSchemas
    from tests.retrieval.scenes import vocabulary

    assert ToolSchemas("[]", vocabulary()).by_name == {}
