from agent_gym_env.evaluation.compare import compare
from agent_gym_env.evaluation.evaluate import summarize
from agent_gym_env.evaluation.table import (
    COMPARISON_HEADER,
    HEADER,
    comparison_rows,
    probability,
    rows,
)
from tests.evaluation.episode_factory import call, due, episode, episodes, turn


def test_a_row_has_a_cell_for_each_column() -> None:
    wanted = due(city="Lisbon")
    played = [
        episode(turn(0.5, due=wanted, made=[call(city="Lisbon")]), turn(1.0), seen_services=()),
        episode(turn(0.5, due=wanted), turn(1.0), dialogue_id="1_00001", seen_services=()),
    ]
    (row,) = rows([summarize(played)])
    assert dict(zip(HEADER, row, strict=True)) == {
        "policy": "agent",
        "return": "1.50",
        "reward": "0.750",
        "95 % interval": "0.750 to 0.750",
        "call due": "0.500",
        "no call": "1.000",
        "macro": "0.750",
        "seen": "-",
        "unseen": "0.750",
        "precision": "1.000",
        "recall": "0.500",
        "exact": "0.500",
        "arg F1": "0.667",
    }


def test_a_comparison_names_what_it_found() -> None:
    new, old = episodes([0.75], [0.5], policy="new"), episodes([0.5], [0.5], policy="old")
    (row,) = comparison_rows([compare(new, old)])
    cells = dict(zip(COMPARISON_HEADER, row, strict=True))
    assert (cells["first"], cells["second"], cells["first is"]) == ("new", "old", "inconclusive")
    assert (cells["difference"], cells["dialogues"]) == ("+0.125", "2")
    assert cells["95 % interval"] == "+0.000 to +0.250"


def test_a_small_p_value_is_not_written_as_zero() -> None:
    assert probability(0.0004998) == "< 0.001"
    assert probability(0.0421) == "0.042"
    assert probability(None) == "-"
