from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_gym_env.lm.parse import (
    MAX_LENGTH,
    ParsedReply,
    parse_reply,
    read_arguments,
    tagged_call,
    without_reasoning,
)
from agent_gym_env.types import ToolCall
from tests.timing import SOON_S, takes_less_than

NAME = "Cafes_1-FindCafe"
NAMES = (NAME, "Cafes_1-ReserveTable", "Cafes_1-Find")
CALL = ToolCall(NAME, {"city": "Bergen"})
STRICT = f'{{"name": "{NAME}", "arguments": {{"city": "Bergen"}}}}'


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{STRICT}\n</tool_call>",
        f"<tool_call>{STRICT}",
        f"<tool_calls>[{STRICT}]</tool_calls>",
        f"<tool_call>{{'name': '{NAME}', 'arguments': {{'city': 'Bergen',}},}}</tool_call>",
        f'<tool_call>{{"name": "{NAME}", "arguments": "{{\\"city\\": \\"Bergen\\"}}"}}</tool_call>',
        f"<tool_call>{NAME}(city='Bergen')</tool_call>",
        f"```json\n{STRICT}\n```",
        f"```\n{STRICT}\n```",
        f"```json\n[{STRICT}]\n```",
        f"```tool_call\n{STRICT}",
        f'```python\n{NAME}(city="Bergen")\n```',
        STRICT,
        f"[{STRICT}]",
        f'{{"tool_calls": [{STRICT}]}}',
        f'{{"type": "function", "function": {STRICT}}}',
        f'{{"name": "{NAME}", "parameters": {{"city": "Bergen"}}}}',
        f'{{"tool": "{NAME}", "args": {{"city": "Bergen"}}}}',
        f"{{name: '{NAME}', arguments: {{city: 'Bergen'}}}}",
        f'{NAME}(city="Bergen")',
        f'[{NAME}(city="Bergen")]',
        f'{NAME}({{"city": "Bergen"}})',
        f"{NAME}( city = 'Bergen', )",
        f"<think>Where? {{'name': 'x'}}</think>\n{STRICT}",
        f"I need a cafe.</think>{STRICT}",
    ],
)
def test_a_call_is_found_in_every_form(text: str) -> None:
    reply = parse_reply(text, NAMES)
    assert reply.tool_calls == (CALL,)
    assert reply.text == ""


def test_words_around_a_call_are_kept() -> None:
    reply = parse_reply(f"One moment. <tool_call>{STRICT}</tool_call> Thanks.", NAMES)
    assert (reply.text, reply.tool_calls) == ("One moment.  Thanks.", (CALL,))


def test_several_calls_keep_their_order() -> None:
    other = ToolCall("Cafes_1-ReserveTable", {"seats": 2})
    second = '{"name": "Cafes_1-ReserveTable", "arguments": {"seats": 2}}'
    for text in (
        f"<tool_call>{STRICT}</tool_call>\n<tool_call>{second}</tool_call>",
        f"<tool_call>{STRICT}\n{second}</tool_call>",
        f"```json\n[{STRICT}, {second}]\n```",
        f"{STRICT}\n{second}",
        f'[{NAME}(city="Bergen"), Cafes_1-ReserveTable(seats=2)]',
    ):
        assert parse_reply(text, NAMES).tool_calls == (CALL, other)


def test_a_call_without_arguments_has_none() -> None:
    assert parse_reply(f'<tool_call>{{"name": "{NAME}"}}</tool_call>').tool_calls == (
        ToolCall(NAME, {}),
    )
    assert parse_reply(f"{NAME}()", NAMES).tool_calls == (ToolCall(NAME, {}),)


def test_tags_may_call_a_tool_that_is_not_on_offer() -> None:
    """The environment answers it with an error, from which an agent learns."""
    text = '<tool_call>{"name": "Nobody", "arguments": {}}</tool_call>'
    assert parse_reply(text, NAMES).tool_calls == (ToolCall("Nobody", {}),)


@pytest.mark.parametrize(
    "text",
    [
        "Shall I look in Bergen?",
        "",
        '{"name": "Nobody", "arguments": {}}',
        '```json\n{"city": "Bergen"}\n```',
        "Nobody(city='Bergen')",
        f"{NAME}(Bergen)",
        f"{NAME}(city=open('secrets'))",
        f"{NAME}(city='Bergen'",
        f"My-{NAME}(city='Bergen')",
        f"The tool {NAME} (a search) is free.",
        "<tool_call>find a cafe</tool_call>",
        '<tool_call>{"name": 3, "arguments": {}}</tool_call>',
        f'<tool_call>{{"name": "{NAME}", "arguments": [1]}}</tool_call>',
    ],
)
def test_what_is_no_call_is_text(text: str) -> None:
    reply = parse_reply(text, NAMES)
    assert (reply.text, reply.tool_calls) == (text, ())


def test_reasoning_is_left_out() -> None:
    assert parse_reply("<think>\nHm. a < b\n</think>\nWhere to?", NAMES).text == "Where to?"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"<think>I could <tool_call>{STRICT}</tool_call>", ""),
        (f"<think>I could {STRICT}", ""),
        (f"<thinking>\n{NAME}(city='Bergen')", ""),
        ("[THINK]Hm.", ""),
        ("Where to?\n<think>Or", "Where to?"),
        ("<think>Hm.</think>Where to?<think>Or", "Where to?"),
        ("<think>" + "x" * MAX_LENGTH, ""),
        ("<think>a<think>b</think>Where to?", "Where to?"),
        ("Hm.<think>no</think> Where to?", "Hm. Where to?"),
        ("[THINK]Hm.[/THINK]Where to?", "Where to?"),
        ("Hm.</think>Where to?", "Where to?"),
        ("I think <so>", "I think <so>"),
    ],
)
def test_reasoning_is_neither_words_nor_a_call(text: str, words: str) -> None:
    assert parse_reply(text, NAMES) == ParsedReply(words)


@pytest.mark.parametrize(
    "written",
    [
        f'{{"name": "{NAME}", "input": {{"city": "Bergen"}}}}',
        f'{{"arguments": {{"city": "Bergen"}}, "name": "{NAME}"}}',
        f'{{"name": "{NAME}", "arguments": null, "args": {{"city": "Bergen"}}}}',
        f'{{"type": "tool_use", "id": "1", "name": "{NAME}", "input": {{"city": "Bergen"}}}}',
        f'{{"functionCall": {{"name": "{NAME}", "args": {{"city": "Bergen"}}}}}}',
        f'{{"action": "{NAME}", "action_input": {{"city": "Bergen"}}}}',
    ],
)
def test_arguments_are_found_under_every_key(written: str) -> None:
    for text in (written, f"<tool_call>{written}</tool_call>", f"```json\n{written}\n```"):
        assert parse_reply(text, NAMES).tool_calls == (CALL,)


@pytest.mark.parametrize(
    "written",
    [
        f'{{"name": "{NAME}", "city": "Bergen"}}',
        f'{{"name": "{NAME}", "arguments": {{"city": "a"}}, "args": {{"city": "b"}}}}',
    ],
)
def test_a_call_that_would_lose_its_arguments_stays_text(written: str) -> None:
    text = f"<tool_call>{written}</tool_call>"
    assert parse_reply(text, NAMES) == ParsedReply(text)


def test_a_longer_name_wins_over_its_beginning() -> None:
    assert parse_reply(f"{NAME}(city='Bergen')", ("Cafes_1-Find", NAME)).tool_calls == (CALL,)


def test_nothing_is_evaluated(tmp_path: Any) -> None:
    mark = tmp_path / "mark"
    for value in (f"open('{mark}', 'w')", f"__import__('os').system('touch {mark}')"):
        parse_reply(f"<tool_call>{NAME}(city={value})</tool_call>", NAMES)
        parse_reply(f"<tool_call>{{'name': '{NAME}', 'arguments': {value}}}</tool_call>", NAMES)
    assert not mark.exists()


@pytest.mark.parametrize("arguments", [None, "", "{}", {}])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    assert read_arguments(arguments) == {}


@pytest.mark.parametrize("arguments", ["[1]", "3", "Bergen", "{'city'"])
def test_arguments_that_are_no_object_are_none(arguments: str) -> None:
    assert read_arguments(arguments) is None


@example("</tool_call>", {"</tool_call>": "<tool_call>"})
@given(
    st.text(min_size=1, max_size=20),
    st.dictionaries(st.text(max_size=8), st.text(max_size=12) | st.integers(0, 9), max_size=4),
)
def test_a_call_that_was_written_is_read_again(name: str, arguments: dict[str, Any]) -> None:
    reply = parse_reply(tagged_call(name, arguments))
    assert reply.tool_calls == (ToolCall(name, arguments),)


@given(st.text(alphabet=f"<>/`\n{{}}[]()'\",:=_ {NAME}", max_size=300))
def test_any_text_is_parsed(text: str) -> None:
    parse_reply(text, NAMES)
    parse_reply(f"<tool_call>{text}</tool_call>", NAMES)


@pytest.mark.parametrize(
    "unit",
    [
        "<tool_call>", "<tool_call>{", "</tool_call>", "```\n", "```json\n{", '{"name":', "{ ", "(",
        f"{NAME}(", f"{NAME}(a=", f"{NAME}(a='", '{"name": "x", "arguments": {"a": "',
        "<think>", "<", "</think>", "{'type':[", '{"id": "', "\n",
    ],
)  # fmt: skip
def test_no_text_takes_long(unit: str) -> None:
    text = unit * (MAX_LENGTH // len(unit))
    for written in (text, f"<think>{text}"):
        assert takes_less_than(1.0, partial(parse_reply, written, NAMES))


@pytest.mark.parametrize("levels", [32, 33, 900])
def test_arguments_are_read_as_deep_as_the_environment_takes_them(levels: int) -> None:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    written = '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)
    expected = value if levels <= 32 else None
    assert read_arguments(written) == expected
    assert read_arguments(value) == expected


@pytest.mark.parametrize("value", ["</think>", "<think>", "a </think> b <think> c", "[/THINK]"])
def test_marks_of_reasoning_in_arguments_are_arguments(value: str) -> None:
    call = f'<tool_call>\n{{"name": "F", "arguments": {{"a": "{value}"}}}}\n</tool_call>'
    wanted = (ToolCall("F", {"a": value}),)
    assert parse_reply(call) == ParsedReply("", wanted)
    assert parse_reply(f"<think>Hm.</think>Hi {call}") == ParsedReply("Hi", wanted)
    assert parse_reply(f"Hm.</think>{call}") == ParsedReply("", wanted)


def test_many_marks_and_calls_are_read_in_time() -> None:
    call = '<tool_call>{"name": "F", "arguments": {"a": "</think>"}}</tool_call>'
    begun = time.process_time()
    assert without_reasoning(call * 20_000) == (call * 20_000, False)
    without_reasoning("<tool_call>{" * 100_000 + "</think>" * 100_000)
    assert time.process_time() - begun < SOON_S
