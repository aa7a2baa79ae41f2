"""A rendered conversation shows what was said, and cannot steer what shows it."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest

from agent_gym_env.envs.render import Line, lines, printable, render_ansi, render_html

HOSTILE = "\x1b[2J\x07\x9b31m\u202egnp\u202c\u2066x\u2069\u200b\u2028<script>alert('&')</script>\r"


def conversation(text: str) -> str:
    call = {"name": "Teas_1-FindTea", "arguments": msgspec.json.encode({"kind": text}).decode()}
    return msgspec.json.encode(
        [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "0", "function": call}]},
            {"role": "tool", "tool_call_id": "0", "content": text},
            {"role": "assistant", "content": text},
        ]
    ).decode()


def test_a_conversation_reads_line_by_line() -> None:
    assert list(lines(conversation("green"))) == [
        Line("user", "Hi"),
        Line("call", "Teas_1-FindTea(kind='green')"),
        Line("result", "green"),
        Line("agent", "green"),
    ]


def test_a_long_result_is_shortened() -> None:
    shown = [line.text for line in lines(conversation("x" * 500)) if line.speaker == "result"]
    assert shown == ["x" * 400 + "…"]


def test_a_terminal_cannot_be_steered() -> None:
    shown = render_ansi("1_00000\x1b[0m", conversation(HOSTILE))
    steering = {c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")}
    assert steering == {"\n"}
    assert len(shown.split("\n")) == 5


@pytest.mark.parametrize("text", ["plain", "Grüße \U0001f375", "日本"])
def test_what_steers_nothing_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_paragraph_stays_on_its_line() -> None:
    assert printable("a\n\tb") == "a  b"


def test_html_is_escaped() -> None:
    shown = render_html("<b>", conversation(HOSTILE))
    assert "<script" not in shown
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;" in shown
    assert "<h2>&lt;b&gt;</h2>" in shown


def test_html_shows_no_control_or_direction_characters() -> None:
    shown = render_html("1_00000", conversation(HOSTILE))
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")]
