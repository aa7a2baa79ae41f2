from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gym_env.lm.lenient_json import MAX_DEPTH, MAX_LENGTH, UnreadableError, read
from tests.timing import takes_less_than


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{'a': 'b'}", {"a": "b"}),
        ('{"a": 1,}', {"a": 1}),
        ("[1, 2, ]", [1, 2]),
        ("{a: 'b', c: 2}", {"a": "b", "c": 2}),
        ("{'a': True, 'b': False, 'c': None}", {"a": True, "b": False, "c": None}),
        ("{“a”: “b”}", {"a": "b"}),
        ("{'a': 'it's nine o'clock'}", {"a": "it's nine o'clock"}),
        ("{'a': \"it's\"}", {"a": "it's"}),
        ('{"a": "say "yes" now"}', {"a": 'say "yes" now'}),
        (r"{'a': 'it\'s\n'}", {"a": "it's\n"}),
        (r"{'a': 'caf\u00e9'}", {"a": "café"}),
        ("{'a': 'two\nlines'}", {"a": "two\nlines"}),
        ("{'a': -1.5e3}", {"a": -1500.0}),
        ("{'a': [{'b': []}]}", {"a": [{"b": []}]}),
        ("  {'a': 1}\n", {"a": 1}),
        ("{}", {}),
    ],
)
def test_what_models_write_is_read(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "{'a'}", "{'a': }", "{'a': 1 'b': 2}", "[1 2]", "{'a': b}", "{'a': 1}}",
        "{'a': 1} and more", "{'a': 'b", "{,}", "{'a': __import__('os')}", "{'a': 0x1F}",
        "{'a': NaN}", "nonsense",
    ],
)  # fmt: skip
def test_what_is_not_even_nearly_json_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError):
        read(text)


def test_a_lone_surrogate_is_replaced() -> None:
    assert read(r"{'a': '\ud83d\ude00 \ud800'}") == {"a": "😀 �"}


def test_nesting_is_bounded() -> None:
    deep = "[" * (MAX_DEPTH - 1) + "'x'" + "]" * (MAX_DEPTH - 1)
    assert json.dumps(read(deep)) == deep.replace("'", '"')
    with pytest.raises(UnreadableError, match="levels"):
        read("['x', " * 1000 + "]" * 1000)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON)
def test_json_is_read_as_what_it_is(value: Any) -> None:
    assert read(json.dumps(value, ensure_ascii=False)) == value


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.text("abc d", max_size=9)))
def test_what_python_prints_is_read(value: dict[str, str]) -> None:
    assert read(repr(value)) == value


@given(st.text(alphabet="{}[]\"'“”,: \n\\a1-.eu", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UnreadableError):
        read(text)


@pytest.mark.parametrize(
    "unit", ["{'a':", "[", "'", "' ", '"', "\\", "{'a': 'b', ", " ", "[[],", "“", "{a:1,", "['',"]
)
def test_no_text_takes_long(unit: str) -> None:
    text = unit * (MAX_LENGTH // len(unit) - 1)

    def read_both() -> None:
        for written in (text, f"['{text}"):
            with contextlib.suppress(UnreadableError):
                read(written)

    assert takes_less_than(1.0, read_both)


def test_numbers_beyond_64_bits_do_not_make_a_document_unreadable() -> None:
    assert read('{"a": 3e5393, "b": 1}') == {"a": "3e5393", "b": 1}
    assert read("{'a': 12345678901234567890}") == {"a": 12345678901234567890.0}
    assert read("{'a': -999999999999999999}") == {"a": -999999999999999999}
