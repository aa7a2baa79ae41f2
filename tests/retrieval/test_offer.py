from tests.retrieval.scenes import FIND, ORDER, offer


def test_a_query_is_told_by_its_verb() -> None:
    tools = offer().tools
    assert tools[FIND].is_query
    assert not tools[ORDER].is_query


def test_slots_tell_how_their_values_are_given() -> None:
    slots = offer().slots["Teas_1"]
    assert slots["kind"].kind == "listed"
    assert slots["wrapped"].is_boolean
    assert slots["grams"].kind == "number"
    assert offer().slots["Cakes_1"]["day"].kind == "date"


def test_no_preference_is_no_default() -> None:
    tools = offer().tools
    assert tools[FIND].slots["origin"].default is None
    assert tools[ORDER].slots["wrapped"].default == "False"


def test_missing_arguments_are_the_required_ones_that_are_not_given() -> None:
    tool = offer().tools[ORDER]
    assert tool.missing({"grams": "50"}) == ["name"]
    assert tool.missing({"grams": "50", "name": "Sencha"}) == []


def test_listed_values_are_found_by_phrase() -> None:
    assert offer().listed_phrases["Teas_1"] == {"green": {"kind"}, "black": {"kind"}}


def test_slots_share_features_for_the_words_that_they_share() -> None:
    slots = offer().slots["Teas_1"]
    shared = set(slots["name"].features.tolist()) & set(slots["origin"].features.tolist())
    assert shared  # both are free text


def test_nothing_on_offer_is_an_offer_too() -> None:
    from agent_gym_env.retrieval.offer import Offer
    from tests.retrieval.scenes import vocabulary

    assert Offer("[]", vocabulary()).tools == {}
