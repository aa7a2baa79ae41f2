import pytest

from agent_gym_env.corpus.sgd import TODAY
from agent_gym_env.retrieval.reply_templates import say_value


@pytest.mark.parametrize(
    ("value", "like", "said"),
    [
        ("2019-03-08", "x", "March 8th"),
        ("2019-03-01", "x", "March 1st"),
        ("2019-03-12", "x", "March 12th"),
        ("2019-03-23", "x", "March 23rd"),
        ("17:30", "x", "5:30 pm"),
        ("00:00", "x", "12 am"),
        ("12:00", "x", "12 pm"),
        ("1630", "$5", "$1,630"),
        ("24.5", "$5", "$24.5"),
        ("1630", "5", "1630"),
        ("Uji", "$5", "Uji"),
        ("True", "x", "True"),
    ],
)
def test_values_are_said_as_people_say_them(value: str, like: str, said: str) -> None:
    assert say_value(value, like=like, dates={}, today=TODAY) == said


def test_a_known_way_to_say_a_date_is_kept() -> None:
    dates = {"2019-03-02": "tomorrow"}
    assert say_value("2019-03-02", like="x", dates=dates, today=TODAY) == "tomorrow"
