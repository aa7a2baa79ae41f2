from __future__ import annotations

from agent_gym_env.corpus.sgd import Intent, Service
from agent_gym_env.synthesis.entities import IntentEntry, ServiceEntry
from agent_gym_env.synthesis.service_model import MOST_ROWS, ServiceModel
from tests.synthesis.bakery import (
    BAKERY,
    BAKERY_ENTRY,
    CAKES,
    COURIER,
    COURIER_ENTRY,
    cake,
    slot,
)

MODEL = ServiceModel(BAKERY, BAKERY_ENTRY)
TIMES = [f"{hour:02}:{minute:02}" for hour in range(8, 20) for minute in (0, 15, 30, 45)]


def _names(rows: list[dict[str, str]]) -> list[str]:
    return [row["cake_name"] for row in rows]


def test_a_search_lists_the_rows_that_fit_in_their_order() -> None:
    found = MODEL.search("FindCakes", {"flavor": "plum"})
    assert _names(found) == ["Plum Pie", "Plum Star"]
    assert found[0] == {**CAKES[0], "town": "Aville"}


def test_a_default_filters_unless_the_user_is_indifferent() -> None:
    everything = MODEL.search("FindCakes", {"flavor": "plum"}, indifferent=["size"])
    assert _names(everything) == ["Plum Pie", "Plum Crown", "Plum Star"]
    assert _names(MODEL.search("FindCakes", {"flavor": "plum", "size": "large"})) == ["Plum Crown"]


def test_a_search_that_nothing_fits_is_empty() -> None:
    assert MODEL.search("FindCakes", {"flavor": "lemon", "has_nuts": "True"}) == []


def test_a_search_lists_no_more_than_ten_rows() -> None:
    rows = [cake(f"Cake {number:02}", "plum", "small") for number in range(15)]
    model = ServiceModel(BAKERY, ServiceEntry(rows=rows))
    assert len(model.search("FindCakes", {"flavor": "plum"})) == MOST_ROWS


def test_a_booking_echoes_its_parameters_beside_the_chosen_row() -> None:
    parameters = {"cake_name": "Plum Pie", "pickup_date": "2019-03-02", "pieces": "2"}
    answers = [MODEL.book("OrderCake", {**parameters, "pickup_time": it}, CAKES[0]) for it in TIMES]
    taken = [answer for answer in answers if answer.succeeded]
    assert 0.7 * len(TIMES) < len(taken) < len(TIMES)
    for answer in taken:
        [row] = answer.rows
        assert row.items() >= parameters.items()
        assert row["price"] == CAKES[0]["price"]


def test_a_counter_offer_moves_the_time_alone_to_one_that_is_free() -> None:
    days = [f"2019-03-{day:02}" for day in range(1, 15)]
    wanted = [
        {"cake_name": "Plum Pie", "pickup_date": day, "pickup_time": time, "pieces": "1"}
        for day in days
        for time in TIMES
    ]
    answers = [(it, MODEL.book("OrderCake", it, CAKES[0])) for it in wanted]
    offers = [(it, answer) for it, answer in answers if answer.rows and not answer.succeeded]
    assert offers
    for parameters, answer in offers:
        [row] = answer.rows
        assert {slot for slot, value in parameters.items() if row[slot] != value} == {"pickup_time"}
        retry = {**parameters, "pickup_time": row["pickup_time"]}
        assert MODEL.book("OrderCake", retry, CAKES[0]).succeeded
    assert any(not answer.rows for _, answer in answers)


def test_the_same_booking_gets_the_same_answer() -> None:
    model = ServiceModel(COURIER, COURIER_ENTRY)
    parameters = {"town": "Aville", "parcel_weight": "2 kg"}
    again = ServiceModel(COURIER, COURIER_ENTRY)
    assert model.book("SendParcel", parameters, {}) == again.book("SendParcel", parameters, {})


def test_a_slot_that_only_the_service_knows_is_drawn_from_its_examples() -> None:
    model = ServiceModel(COURIER, COURIER_ENTRY)
    weights = [f"{number} kg" for number in range(40)]
    answers = [
        model.book("SendParcel", {"town": "Aville", "parcel_weight": it}, {}) for it in weights
    ]
    codes = {row["tracking_code"] for answer in answers for row in answer.rows}
    assert codes == {"A-17", "B-29", "C-31"}


def test_a_transaction_takes_up_the_search_that_gives_its_slots() -> None:
    assert MODEL.search_before("OrderCake") == "FindCakes"
    assert MODEL.row_gives("FindCakes", "OrderCake") == ["cake_name"]
    assert MODEL.intents_after("FindCakes") == ["OrderCake"]
    assert ServiceModel(COURIER, COURIER_ENTRY).search_before("SendParcel") is None


def test_a_stated_order_of_intents_goes_before_a_guessed_one() -> None:
    intents = [
        Intent("FindA", "", False, [], {}, ["name"]),
        Intent("FindB", "", False, [], {}, ["name"]),
        Intent("Take", "", True, ["name"], {}, ["name"]),
    ]
    entry = ServiceEntry(rows=[{"name": "x"}], intents={"Take": IntentEntry(after="FindB")})
    model = ServiceModel(Service("Any_1", "", [slot("name")], intents), entry)
    assert model.search_before("Take") == "FindB"


def test_free_words_and_days_carry_over_and_numbers_and_times_do_not() -> None:
    assert MODEL.concept("town") == "town"
    assert MODEL.concept("pickup_date") == "pickup_date"
    assert MODEL.concept("pickup_time") is None
    assert MODEL.concept("pieces") is None
