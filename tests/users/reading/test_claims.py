"""Rules over words: refusals, denials and reports in an agent's text."""

from __future__ import annotations

import pytest

from agent_gym_env.users.reading.claims import (
    Report,
    denied_values,
    is_undecided,
    refuses,
    report_of,
    stated_name,
)
from agent_gym_env.users.reading.text import KnownValues, sentences_of, tokens_of


@pytest.mark.parametrize(
    "text",
    [
        "I will not book this for you: xname, xtime.", "I won't book xname at xtime.",
        "Sorry, I cannot book xname.", "I can\u2019t reserve xname for xnumber people.",
        "I have already booked xname.", "I've booked xname for you.", "We refuse to book xname.",
        "Shall I cancel xname?", "Cancel xname at xtime?", "I am not going to reserve xname.",
        "I am unable to buy xnumber tickets.", "xname will never be booked.",
        "No booking will be made for xname.", "Nothing will be booked: xname, xdate.",
        "It is impossible to reserve xname.", "Should I delete xname?",
        "Your booking was declined.",
    ],
)  # fmt: skip
def test_a_refusal(text: str) -> None:
    assert refuses(sentences_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "Please confirm: xname, xtime. Is that right?", "Shall I book xname?", "Book xname?",
        "No problem, please confirm: xname at xtime.", "I won't book it until you say yes: xname.",
        "You want to watch xname without subtitles, correct?", "Rent xname with no subtitles?",
        "Let me make sure nothing goes wrong: xname, xtime.", "Nothing is booked yet: xname, okay?",
        "There is not any additional luggage. Are those details correct?",
        "I will book xname for xnumber people. Is it not too late?",
        "Should I go ahead and reserve xname, or change anything?",
        "Kindly ensure that a ticket has been booked for xname.",
        "You can't wait to see xname, so xnumber tickets for xdate?",
    ],
)  # fmt: skip
def test_no_refusal(text: str) -> None:
    assert not refuses(sentences_of(text))


@pytest.mark.parametrize(
    ("text", "report"),
    [
        ("Unfortunately your booking has failed, nothing was booked.", Report(False, True)),
        ("The reservation failed.", Report(False, True)),
        ("I have not booked anything.", Report(False, True)),
        ("Sorry, I was not able to book it.", Report(False, True)),
        ("I couldn't complete the purchase.", Report(False, True)),
        ("Your card was declined.", Report(False, True)),
        ("Your booking has not been confirmed yet.", Report(False, True)),
        ("Your booking is pending.", Report(False, True)),
        ("I cancelled it.", Report(False, True)),
        ("It didn't go through.", Report(False, True)),
        ("Your booking is confirmed.", Report(True, False)),
        ("Done.", Report(True, False)),
        ("I was able to reserve a table.", Report(True, False)),
        ("It went through without a hitch.", Report(True, False)),
        ("No problem, it is booked.", Report(True, False)),
        ("Booked! There's nothing more you need to do.", Report(True, False)),
        ("Your table is reserved, but it does not have wifi.", Report(True, False)),
        ("It is all set. Unfortunately they don't allow pets.", Report(True, False)),
        ("Hello", Report(False, False)),
        ("Is there anything else I can help you with?", Report(False, False)),
        ("Shall I make it official?", Report(False, False)),
        ("It does not have wifi.", Report(False, False)),
        ("There are no others.", Report(False, False)),
        ("", Report(False, False)),
    ],
)
def test_a_report(text: str, report: Report) -> None:
    assert report_of(sentences_of(text)) == report


def _denied(text: str) -> list[str]:
    known = KnownValues("2019-03-01")
    known.add("phone_number", "555-1234")
    known.add("address", "17 Main Street")
    known.add("stars", "4")
    tokens = tokens_of(text)
    found = known.find(text, tokens)
    starts = denied_values(text, tokens, found)
    return [text[value.start : value.end] for value in found if value.start in starts]


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("The phone number is not 555-1234.", ["555-1234"]),
        ("The phone number isn't 555-1234.", ["555-1234"]),
        ("It isn\u2019t at 17 Main Street.", ["17 Main Street"]),
        ("It is never at 17 Main Street.", ["17 Main Street"]),
        ("It is not true that the phone is 555-1234.", ["555-1234"]),
        ("555-1234 is not the phone number.", ["555-1234"]),
        ("555-1234 is wrong.", ["555-1234"]),
        ("It has not 4, 5 or 6 stars.", ["4", "5", "6"]),
        ("It is not 3 but 4 stars.", ["3"]),
        ("The phone number is 555-1234.", []),
        ("No, the phone number is 555-1234.", []),
        ("It has no wifi and the phone number is 555-1234.", []),
        ("It does not have wifi. The address is 17 Main Street.", []),
        ("It is not pet friendly, and it is at 17 Main Street.", []),
        ("Pets are not allowed.Their number is 555-1234.", []),
        ("Why not try 17 Main Street?", []),
        ("17 Main Street is not available.", []),
        ("It has 4 stars, not wifi.", []),
    ],
)
def test_a_denied_value(text: str, denied: list[str]) -> None:
    assert _denied(text) == denied


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Done. The hotel name is something else.", "something else"),
        ("The hotel name is Zorbistan, I think.", "zorbistan"),
        ("The hotel name is 17 Main Street.", None),
        ("The hotel name is the 17 Main Street.", None),
        ("The hotel name is not known.", None),
        ("The hotel name is as you wished.", None),
        ("It is something else.", None),
    ],
)
def test_a_stated_name(text: str, name: str | None) -> None:
    known = KnownValues("2019-03-01")
    known.add("address", "17 Main Street")
    assert stated_name(text, known.find(text, tokens_of(text)), "hotel name") == name


def test_what_is_left_open() -> None:
    assert is_undecided("It may or may not have wifi")
    assert is_undecided("I don\u2019t know whether it has wifi")
    assert not is_undecided("It does not have wifi")
