"""Odd conversations of our own, as logs have them, with what a reader makes of each.

They are about a library with the tools ``find`` and ``reserve``. `ODD` are kept; `REFUSED` cannot
be used.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from agent_gym_env.corpus.logs.conversation import (
    JOINED_USER,
    LATE_SYSTEM,
    NO_LAST_REPLY,
    OTHER_TOOLS,
    REASONING,
    UNANSWERED,
)
from agent_gym_env.types import ToolStatus

Record = dict[str, Any]


class Call(NamedTuple):
    """A call as it is expected."""

    name: str
    arguments: Record
    result: Any
    round: int = 0
    status: ToolStatus = "success"


class Turn(NamedTuple):
    """A turn as it is expected."""

    user: str
    text: str
    calls: tuple[Call, ...] = ()


class Odd(NamedTuple):
    """A record of a log, and what is read from it.

    Attributes:
        name: what is odd about it.
        record: the record.
        turns: expected turns.
        notes: expected notes.
        facts: expected ``system``, ``date``, ``id``, ``user``, ``split`` and ``tools`` (names), as
            far as they are not ``None``; the id is the line if the record has none.
    """

    name: str
    record: Any
    turns: tuple[Turn, ...]
    notes: tuple[str, ...] = ()
    facts: Record = {}  # noqa: RUF012  (never changed)


class Refused(NamedTuple):
    """A record that cannot be used, and the error that says so."""

    name: str
    record: Any
    kind: str
    pointer: str | None
    said: str = ""


# How logs write it.


def chat(*messages: Any, **facts: Any) -> Record:
    return {**facts, "messages": list(messages)}


def user(content: Any) -> Record:
    return {"role": "user", "content": content}


def says(content: Any, *calls: Record, **more: Any) -> Record:
    message = {"role": "assistant", "content": content, **more}
    return {**message, "tool_calls": list(calls)} if calls else message


def made(call_id: Any, name: str, arguments: Any) -> Record:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def result(call_id: Any, content: Any, **more: Any) -> Record:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def gave(content: Any) -> Record:
    """A conversation whose only call has a result."""
    return chat(user("Emma?"), says(None, FIND), result("a", content), says("Here."))


def found(value: Any) -> tuple[Turn, ...]:
    """Turns that are expected of `gave`."""
    return (Turn("Emma?", "Here.", (Call("find", {"title": "Emma"}, value),)),)


def dated(value: Any, key: str = "date", **facts: Any) -> Record:
    return chat(user("Hi"), says("Hello"), **{key: value}, **facts)


def described(tools: Any, key: str = "tools") -> Record:
    return chat(user("Hi"), says("Hello"), **{key: tools})


def part(text: str, kind: str = "text") -> Record:
    return {"type": kind, "text": text}


def shared(*said: tuple[str, Any], **facts: Any) -> Record:
    return {**facts, "conversations": [{"from": who, "value": value} for who, value in said]}


def unified(*turns: Record, **facts: Any) -> Record:
    return {"dialogue_id": "mul-1", "data_split": "validation", **facts, "turns": list(turns)}


def asks(utterance: str, state: Any = None) -> Record:
    return {"speaker": "user", "utterance": utterance, "state": state}


def answers(utterance: str, **more: Any) -> Record:
    return {"speaker": "system", "utterance": utterance, **more}


FIND = made("a", "find", '{"title": "Emma"}')
RESERVE = made("b", "reserve", '{"book": 7}')
EMMA = Call("find", {"title": "Emma"}, [{"book": 7}])
SEVEN = Call("reserve", {"book": 7}, "reserved")
FOUND = result("a", '[{"book": 7}]')
RESERVED = result("b", "reserved")
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}
FIND_TOOL = {"name": "find", "description": "Find a book", "parameters": SCHEMA}
HELLO = (Turn("Hi", "Hello"),)
LINE = {"id": "000001"}

CHAT = [
    Odd("words only", chat(user("Hi"), says("Hello")), HELLO, (), LINE),
    Odd("arguments as text", chat(user("Emma?"), says(None, FIND), FOUND, says("Seven.")),
        (Turn("Emma?", "Seven.", (EMMA,)),)),
    Odd("arguments as an object",
        chat(user("Emma?"), says(None, made("a", "find", {"title": "Emma"})), FOUND, says("7")),
        (Turn("Emma?", "7", (EMMA,)),)),
    Odd("no arguments: an empty text", chat(user("?"), says(None, made("a", "list", "")),
                                            result("a", "none"), says("None.")),
        (Turn("?", "None.", (Call("list", {}, "none"),)),)),
    Odd("no arguments: null", chat(user("?"), says(None, made("a", "list", None)),
                                   result("a", "none"), says("None.")),
        (Turn("?", "None.", (Call("list", {}, "none"),)),)),
    Odd("nested arguments",
        chat(user("?"), says(None, made("a", "find", '{"by": {"year": [1815, null], "x": 0.5}}')),
             result("a", "[]"), says("No.")),
        (Turn("?", "No.", (Call("find", {"by": {"year": [1815, None], "x": 0.5}}, []),)),)),
    Odd("content in parts", chat(user([part("Do you "), part("have Emma?", "input_text")]),
                                 says([part("Yes", "output_text"), "."])),
        (Turn("Do you have Emma?", "Yes."),)),
    Odd("content of null and of no parts", chat(user(None), says([]), user("Hi"), says("Hello")),
        (Turn("\nHi", "Hello"),), (JOINED_USER,)),
    Odd("a result in parts", gave([part("[1, "), part("2]")]), found([1, 2])),
    Odd("two calls at once",
        chat(user("?"), says(None, FIND, RESERVE), FOUND, RESERVED, says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN)),)),
    Odd("one call after the other",
        chat(user("?"), says(None, FIND), FOUND, says(None, RESERVE), RESERVED, says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN._replace(round=1))),)),
    Odd("two at once, then two at once",
        chat(user("?"), says(None, FIND, RESERVE), FOUND, RESERVED, says(None, FIND, RESERVE),
             FOUND, RESERVED, says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN, EMMA._replace(round=1), SEVEN._replace(round=1))),)),
    Odd("two at once in two messages",
        chat(user("?"), says(None, FIND), says(None, RESERVE), FOUND, RESERVED, says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN)),)),
    Odd("results in another order", chat(user("?"), says(None, FIND, RESERVE), RESERVED, FOUND,
                                         says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN)),)),
    Odd("results in another order, ids are numbers",
        chat(user("?"), says(None, made(1, "find", {"title": "Emma"}),
                             made(2, "find", {"title": "Persuasion"})),
             result(2, "[8]"), result(1, "[7]"), says("Ok")),
        (Turn("?", "Ok", (Call("find", {"title": "Emma"}, [7]),
                          Call("find", {"title": "Persuasion"}, [8]))),)),
    Odd("no ids: by the names of the tools",
        chat(user("?"), says(None, made(None, "find", {}), made(None, "reserve", {})),
             {"role": "tool", "name": "reserve", "content": "done"},
             {"role": "tool", "name": "find", "content": "[]"}, says("Ok")),
        (Turn("?", "Ok", (Call("find", {}, []), Call("reserve", {}, "done"))),)),
    Odd("no ids and no names: in order",
        chat(user("?"), says(None, made(None, "find", {}), made(None, "reserve", {})),
             {"role": "tool", "content": "[]"}, {"role": "tool", "content": "done"}, says("Ok")),
        (Turn("?", "Ok", (Call("find", {}, []), Call("reserve", {}, "done"))),)),
    Odd("one id for two calls",
        chat(user("?"), says(None, FIND, made("a", "reserve", {"book": 7})), FOUND,
             result("a", "reserved"), says("Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN)),)),
    Odd("an id is used again later",
        chat(user("?"), says(None, FIND), FOUND, says("7"), user("?"), says(None, FIND),
             result("a", "[]"), says("Gone")),
        (Turn("?", "7", (EMMA,)), Turn("?", "Gone", (EMMA._replace(result=[]),)))),
    Odd("the old function call",
        chat(user("?"),
             says(None, function_call={"name": "find", "arguments": '{"title": "Emma"}'}),
             {"role": "function", "name": "find", "content": '[{"book": 7}]'}, says("7"),
             functions=[FIND_TOOL]),
        (Turn("?", "7", (EMMA,)),), (), {"tools": ["find"]}),
    Odd("a role developer", chat({"role": "developer", "content": "Be kind."}, user("Hi"),
                                 says("Hello")), HELLO, (), {"system": "Be kind."}),
    Odd("two system prompts", chat({"role": "system", "content": "Be kind."},
                                   {"role": "system", "content": [part("Be brief.")]}, user("Hi"),
                                   says("Hello")),
        HELLO, (), {"system": "Be kind.\n\nBe brief."}),
    Odd("an empty system prompt",
        chat({"role": "system", "content": ""}, user("Hi"), says("Hello")), HELLO),
    Odd("a system prompt beside the messages", chat(user("Hi"), says("Hello"), system="Be kind."),
        HELLO, (), {"system": "Be kind."}),
    Odd("a system prompt in the middle",
        chat({"role": "system", "content": "Be kind."}, user("Hi"), says("Hello"),
             {"role": "system", "content": "We close."}, user("Bye"), says("Bye")),
        (*HELLO, Turn("Bye", "Bye")), (LATE_SYSTEM,), {"system": "Be kind.\n\nWe close."}),
    Odd("a refusal", chat(user("A bomb?"), says(None, refusal="I cannot help.")),
        (Turn("A bomb?", "I cannot help."),)),
    Odd("a refusal in parts",
        chat(user("A bomb?"), says([{"type": "refusal", "refusal": "I cannot help."}])),
        (Turn("A bomb?", "I cannot help."),)),
    Odd("reasoning beside the words", chat(user("Hi"), says("Hello", reasoning_content="A guest.")),
        HELLO, (REASONING,)),
    Odd("reasoning in parts", chat(user("Hi"), says([{"type": "thinking", "thinking": "A guest."},
                                                     part("Hello")])), HELLO, (REASONING,)),
    Odd("an error of a tool", chat(user("Emma?"), says(None, FIND),
                                   result("a", "no such table", is_error=True), says("Sorry.")),
        (Turn("Emma?", "Sorry.", (EMMA._replace(result="no such table", status="error"),)),)),
    Odd("a failure of a tool", chat(user("Emma?"), says(None, FIND),
                                    result("a", "[]", status="failure"), says("No.")),
        (Turn("Emma?", "No.", (EMMA._replace(result=[], status="failure"),)),)),
    Odd("the agent speaks first", chat(says("Welcome!"), user("Hi"), says("Hello")),
        (Turn("", "Welcome!"), *HELLO)),
    Odd("the agent calls first", chat(says(None, FIND), FOUND, says("Emma is here."), user("Hi"),
                                      says("Hello")),
        (Turn("", "Emma is here.", (EMMA,)), *HELLO)),
    Odd("ends with the user", chat(user("Hi"), says("Hello"), user("Bye")), HELLO, (UNANSWERED,)),
    Odd("ends with a result", chat(user("Hi"), says("Hello"), user("?"), says(None, FIND), FOUND),
        (*HELLO, Turn("?", "", (EMMA,))), (NO_LAST_REPLY,)),
    Odd("the user speaks after a result", chat(user("?"), says(None, FIND), FOUND, user("Hi"),
                                               says("Hello")),
        (Turn("?", "", (EMMA,)), *HELLO)),
    Odd("calls and speaks at once", chat(user("?"), says("Let me look.", FIND), FOUND, says("7")),
        (Turn("?", "Let me look.\n7", (EMMA,)),)),
    Odd("calls and speaks at once, and then nothing",
        chat(user("?"), says("Looking.", FIND), FOUND), (Turn("?", "Looking.", (EMMA,)),)),
    Odd("two users in a row", chat(user("Hi"), user("Anyone?"), says("Hello")),
        (Turn("Hi\nAnyone?", "Hello"),), (JOINED_USER,)),
    Odd("two assistants in a row", chat(user("Hi"), says("Hello"), says("How are you?")),
        (Turn("Hi", "Hello\nHow are you?"),)),
    Odd("more than 16 calls at once",
        chat(user("?"), says(None, *(made(f"n{n}", "find", {"n": n}) for n in range(18))),
             *(result(f"n{n}", str(n)) for n in range(18)), says("Ok")),
        (Turn("?", "Ok", tuple(Call("find", {"n": n}, str(n), n // 16) for n in range(18))),)),
    Odd("a result is an object as text", gave('{"book": 7}'), found({"book": 7})),
    Odd("a result is an object", gave({"book": 7}), found({"book": 7})),
    Odd("a result is a list", gave([1, "two", None]), found([1, "two", None])),
    Odd("a result is an empty list", gave([]), found([])),
    Odd("a result is a text", gave("on the shelf"), found("on the shelf")),
    Odd("a result is a number", gave(7.5), found(7.5)),
    Odd("a result is a number as text", gave("7.5"), found("7.5")),
    Odd("a result is null", gave(None), found(None)),
    Odd("a result is a boolean", gave(False), found(False)),
    Odd("a result only begins like JSON", gave("[sic] no such book"), found("[sic] no such book")),
    Odd("a result begins like JSON twice", gave('{"a": 1}\n{"b": 2}'), found('{"a": 1}\n{"b": 2}')),
    Odd("a result has a number of 30 digits", gave('{"n": 123456789012345678901234567890}'),
        found({"n": 123456789012345678901234567890})),
    Odd("no Latin letters", chat(user("你好 \U0001f375"), says("Grüße \u202e")),
        (Turn("你好 \U0001f375", "Grüße \u202e"),)),
    Odd("only a list of messages", [user("Hi"), says("Hello")], HELLO, (), LINE),
    Odd("messages under the key traj", {"traj": [user("Hi"), says("Hello")], "task_id": 3}, HELLO),
    Odd("an id that is a number", chat(user("Hi"), says("Hello"), id=7), HELLO, (), {"id": "7"}),
    Odd("an id under another name", chat(user("Hi"), says("Hello"), id="", session_id="s-1"),
        HELLO, (), {"id": "s-1"}),
    Odd("the id of a user", chat(user("Hi"), says("Hello"), user_id=12), HELLO, (), {"user": "12"}),
    Odd("its own split", chat(user("Hi"), says("Hello"), split="validation"), HELLO, (),
        {"split": "dev"}),
    Odd("a split of another name", chat(user("Hi"), says("Hello"), split="holdout"), HELLO),
]  # fmt: skip

DAY = {"date": "2024-05-15"}
DATES = [
    Odd("a day", dated("2024-05-15"), HELLO, (), DAY),
    Odd("a time in ISO form", dated("2024-05-15T23:59:59Z", "created_at"), HELLO, (), DAY),
    Odd("a time with a zone", dated("2024-05-15 08:00:00+02:00"), HELLO, (), DAY),
    Odd("seconds", dated(1715760000, "created"), HELLO, (), DAY),
    Odd("seconds with a fraction", dated(1715760000.25, "timestamp"), HELLO, (), DAY),
    Odd("milliseconds", dated(1715760000123, "timestamp"), HELLO, (), DAY),
    Odd("a day in the metadata", dated({"date": "2024-05-15"}, "metadata"), HELLO, (), DAY),
    Odd("an empty day", dated(""), HELLO),
]

TOOLS = [
    Odd("a tool of the chat format", described([{"type": "function", "function": FIND_TOOL}]),
        HELLO, (), {"tools": ["find"]}),
    Odd("a tool of the Responses API", described([{"type": "function", **FIND_TOOL}]), HELLO, (),
        {"tools": ["find"]}),
    Odd("a tool of old", described([FIND_TOOL], "functions"), HELLO, (), {"tools": ["find"]}),
    Odd("a tool of MCP", described([{"name": "find", "inputSchema": SCHEMA}]), HELLO, (),
        {"tools": ["find"]}),
    Odd("tools as a text", described(json.dumps([FIND_TOOL])), HELLO, (), {"tools": ["find"]}),
    Odd("a tool without arguments", described([{"type": "function", "function": {"name": "ping"}}]),
        HELLO, (), {"tools": ["ping"]}),
    Odd("no tools", described([]), HELLO, (), {"tools": []}),
    Odd("a tool that is not a function", described([{"type": "web_search"}, FIND_TOOL]), HELLO,
        (OTHER_TOOLS,), {"tools": ["find"]}),
]  # fmt: skip

RESPONSES = [
    Odd("input is a text", {"input": "Hi", "instructions": "Be kind.", "output": [
            {"type": "message", "role": "assistant", "content": [part("Hello", "output_text")]}]},
        HELLO, (), {"system": "Be kind."}),
    Odd("calls and their outputs", {
            "input": [{"type": "message", "role": "user", "content": [part("?", "input_text")]},
                      {"type": "reasoning", "summary": []},
                      {"type": "function_call", "call_id": "a", "name": "find",
                       "arguments": '{"title": "Emma"}'},
                      {"type": "function_call", "call_id": "b", "name": "reserve",
                       "arguments": '{"book": 7}'},
                      {"type": "function_call_output", "call_id": "b", "output": "reserved"},
                      {"type": "function_call_output", "call_id": "a", "output": '[{"book": 7}]'}],
            "output": [{"type": "message", "role": "assistant", "content": "Ok"}],
            "id": "resp_1", "created_at": 1715760000},
        (Turn("?", "Ok", (EMMA, SEVEN)),), (REASONING,), {"id": "resp_1", **DAY}),
    Odd("its items as messages", chat(
            user("?"), {"type": "function_call", "id": "a", "name": "find", "arguments": {}},
            {"type": "function_call_output", "call_id": "a", "output": "[]", "status": "failed"},
            says("No")),
        (Turn("?", "No", (Call("find", {}, [], 0, "error"),)),)),
]  # fmt: skip

HERMES_PROMPT = (
    "You may call functions. Signatures are within <tools></tools> tags.\n"
    f"<tools>\n{json.dumps({'type': 'function', 'function': FIND_TOOL})}\n"
    '{"name": "reserve", "parameters": {}}\n</tools>'
)
CALL_FIND = '{"name": "find", "arguments": {"title": "Emma"}}'
CALL_RESERVE = '{"name": "reserve", "arguments": {"book": 7}}'
SHAREGPT = [
    Odd("words only", shared(("human", "Hi"), ("gpt", "Hello")), HELLO),
    Odd("a system prompt", shared(("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello")), HELLO,
        (), {"system": "Be kind."}),
    Odd("a system prompt beside, tools as a text",
        shared(("user", "Hi"), ("assistant", "Hello"), system="Be kind.",
               tools=json.dumps([FIND_TOOL])),
        HELLO, (), {"system": "Be kind.", "tools": ["find"]}),
    Odd("a system prompt in the middle",
        shared(("human", "Hi"), ("gpt", "Hello"), ("system", "We close."), ("human", "Bye"),
               ("gpt", "Bye")),
        (*HELLO, Turn("Bye", "Bye")), (LATE_SYSTEM,), {"system": "We close."}),
    Odd("function_call and observation",
        shared(("human", "?"), ("function_call", CALL_FIND), ("observation", '[{"book": 7}]'),
               ("function_call", CALL_RESERVE), ("observation", "reserved"), ("gpt", "Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN._replace(round=1))),)),
    Odd("two calls in one function_call",
        shared(("human", "?"), ("function_call", f"[{CALL_FIND}, {CALL_RESERVE}]"),
               ("observation", '[{"book": 7}]'), ("observation", "reserved"), ("gpt", "Ok")),
        (Turn("?", "Ok", (EMMA, SEVEN)),)),
    Odd("an observation with its own name and content",
        shared(("human", "?"), ("function_call", CALL_FIND),
               ("observation", '{"name": "emma.txt", "content": "Emma Woodhouse"}'), ("gpt", "Ok")),
        (Turn("?", "Ok", (EMMA._replace(result={"name": "emma.txt", "content": "Emma Woodhouse"}),
                          )),)),
    Odd("Hermes' tags, tools in the system prompt",
        shared(("system", HERMES_PROMPT), ("human", "?"),
               ("gpt", f"<think>Look.</think>I look.\n<tool_call>\n{CALL_FIND}\n</tool_call>"
                       f"<tool_call>{CALL_RESERVE}</tool_call>"),
               ("tool", '<tool_response>{"name": "reserve", "content": "reserved"}'
                        '</tool_response>\n<tool_response>\n[{"book": 7}]\n</tool_response>'),
               ("gpt", "Ok")),
        (Turn("?", "I look.\nOk", (EMMA, SEVEN)),), (REASONING,),
        {"system": HERMES_PROMPT, "tools": ["find", "reserve"]}),
    Odd("Hermes' tools as an array",
        shared(("system", f"<tools>{json.dumps([FIND_TOOL])}</tools>"), ("human", "Hi"),
               ("gpt", "Hello")),
        HELLO, (), {"system": f"<tools>{json.dumps([FIND_TOOL])}</tools>", "tools": ["find"]}),
    Odd("parameters in place of arguments",
        shared(("human", "?"),
               ("function_call", '{"name": "find", "parameters": {"title": "Emma"}}'),
               ("observation", '[{"book": 7}]'), ("gpt", "7")),
        (Turn("?", "7", (EMMA,)),)),
    Odd("the agent speaks first", shared(("gpt", "Welcome!"), ("human", "Hi"), ("gpt", "Hello")),
        (Turn("", "Welcome!"), *HELLO)),
    Odd("ends with the user", shared(("human", "Hi"), ("gpt", "Hello"), ("human", "Bye")), HELLO,
        (UNANSWERED,)),
]  # fmt: skip

MUL = {"id": "mul-1", "split": "dev"}
STATE = {"inn": {"area": "north", "stars": "", "parking": "dontcare", "book day": "May 3"}}
UNIFIED = [
    Odd("words only", unified(asks("Hi"), answers("Hello")), HELLO, (), MUL),
    Odd("what the database found", unified(
            asks("An inn?", STATE), answers("The Swan.", db_results={"inn": [{"name": "Swan"}]})),
        (Turn("An inn?", "The Swan.",
              (Call("find_inn", {"area": "north"}, [{"name": "Swan"}]),)),), (), MUL),
    Odd("a state that is not said again", unified(
            asks("An inn?", STATE), answers("Which one?"), asks("Any."),
            answers("The Swan.", db_results={"inn": []})),
        (Turn("An inn?", "Which one?"),
         Turn("Any.", "The Swan.", (Call("find_inn", {"area": "north"}, []),))), (), MUL),
    Odd("a booking, and what was booked before", unified(
            asks("Book it.", STATE),
            answers("Done.", booked={"inn": [{"name": "Swan"}], "bar": []}),
            asks("And the Lamb."),
            answers("Done.", booked={"inn": [{"name": "Swan"}, {"name": "Lamb"}]})),
        (Turn("Book it.", "Done.", (Call("book_inn", {"book day": "May 3"}, [{"name": "Swan"}]),)),
         Turn("And the Lamb.", "Done.",
              (Call("book_inn", {"book day": "May 3"}, [{"name": "Lamb"}]),))), (), MUL),
    Odd("a call of a service", unified(
            asks("An inn?"),
            answers("The Swan.",
                    service_call={"inns_1": {"method": "Find", "parameters": {"a": "n"}}},
                    db_results={"inns_1": [{"name": "Swan"}], "other": [1]})),
        (Turn("An inn?", "The Swan.", (Call("inns_1-Find", {"a": "n"}, [{"name": "Swan"}]),)),), (),
        MUL),
    Odd("the database of two domains", unified(
            asks("?", {"inn": {"area": "north"}, "bar": None}),
            answers("Ok", db_results={"inn": [1], "bar": {"count": 2}})),
        (Turn("?", "Ok", (Call("find_inn", {"area": "north"}, [1]),
                          Call("find_bar", {}, {"count": 2}, 1))),), (), MUL),
    Odd("the system speaks first", unified(answers("Welcome!"), asks("Hi"), answers("Hello")),
        (Turn("", "Welcome!"), *HELLO), (), MUL),
]  # fmt: skip

ODD = {
    f"{form}: {odd.name}": odd
    for form, group in (
        ("chat", CHAT),
        ("dates", DATES),
        ("tools", TOOLS),
        ("Responses", RESPONSES),
        ("ShareGPT", SHAREGPT),
        ("unified", UNIFIED),
    )
    for odd in group
}

LONG = "x" * 65_537
DEEP: Any = 0
for _ in range(40):
    DEEP = [DEEP]

REFUSED = [
    Refused("a number", 7, "format", None, "expected an object, found 7"),
    Refused("another format", {"text": "Hi"}, "format", None, "expected OpenAI's chat format"),
    Refused("SGD's format", {"turns": [{"speaker": "USER", "utterance": "Hi", "frames": []}]},
            "format", None),
    Refused("no messages", chat(), "no_reply", None),
    Refused("only the user", chat(user("Hi")), "no_reply", None, "never says or calls anything"),
    Refused("a message that is a text", chat("Hi"), "message", "/messages/0"),
    Refused("a message without a role", chat(user("Hi"), {"content": "Hello"}), "message",
            "/messages/1", "expected a 'role'"),
    Refused("another role", chat({"role": "critic", "content": "?"}), "role", "/messages/0",
            "found 'critic'"),
    Refused("a role that is a list", chat({"role": ["user"], "content": "?"}), "role",
            "/messages/0"),
    Refused("an image", chat(user([{"type": "image_url", "image_url": {"url": "x"}}])), "content",
            "/messages/0", "image_url"),
    Refused("a content that is a number", chat(user(7)), "content", "/messages/0"),
    Refused("a reply that is too long", chat(user("Hi"), says(LONG)), "too_long", "/messages/1",
            "65,537 characters"),
    Refused("replies that are too long together",
            chat(user("Hi"), says(LONG[: 40_000]), says(LONG[: 25_536])), "too_long",
            "/messages/2", "65,537 characters"),
    Refused("arguments that are too long",
            chat(user("Hi"), says(None, made("a", "find", {"title": LONG}))), "too_long",
            "/messages/1/tool_calls/0"),
    Refused("arguments that are not JSON", chat(user("?"), says(None, made("a", "find", "{title"))),
            "arguments", "/messages/1/tool_calls/0", "'{title'"),
    Refused("arguments that are a list", chat(user("?"), says(None, made("a", "find", [1]))),
            "arguments", "/messages/1/tool_calls/0"),
    Refused("arguments that are deep", chat(user("?"), says(None, made("a", "find", {"a": DEEP}))),
            "arguments", "/messages/1/tool_calls/0", "32 levels"),
    Refused("an integer of 70 bits", chat(user("?"), says(None, made("a", "find", {"n": 2**70}))),
            "arguments", "/messages/1/tool_calls/0", "64 bits"),
    Refused("a call without a name", chat(user("?"), says(None, made("a", "", {}))), "tool_name",
            "/messages/1/tool_calls/0"),
    Refused("a call that is a text", chat(user("?"), says(None, tool_calls=["find"])), "message",
            "/messages/1"),
    Refused("calls that are an object", chat(user("?"), says(None, tool_calls={})), "message",
            "/messages/1", "must be a list"),
    Refused("a call without a result", chat(user("?"), says(None, FIND), user("Hi")),
            "call_without_result", "/messages/2", "result of find"),
    Refused("ends with a call", chat(user("?"), says(None, FIND)), "call_without_result", None),
    Refused("a result without a call", chat(user("?"), FOUND), "result_without_call", "/messages/1",
            "'a'"),
    Refused("a result of another call", chat(user("?"), says(None, FIND), RESERVED),
            "result_without_call", "/messages/2"),
    Refused("two results of one call", chat(user("?"), says(None, FIND), FOUND, FOUND),
            "result_without_call", "/messages/3"),
    Refused("tools that are an object", described({"find": SCHEMA}), "tools", "/tools"),
    Refused("tools that are not JSON", described("find(title)"), "tools", "/tools"),
    Refused("a tool without a name", described([{"type": "function", "function": {}}]), "tools",
            "/tools/0"),
    Refused("a tool that is a text", described(["find"]), "tools", "/tools/0"),
    Refused("a schema that is a list", described([{"name": "find", "parameters": []}]), "tools",
            "/tools/0"),
    Refused("a schema with an integer of 70 bits",
            described([{"name": "find", "parameters": {"maximum": 2**70}}]), "tools", "/tools/0",
            "64 bits"),
    Refused("two tools of one name", described([FIND_TOOL, FIND_TOOL]), "tools", "/tools/1"),
    Refused("an item of another kind", {"input": "Hi", "output": [{"type": "web_search_call"}]},
            "message", "/output/0"),
    Refused("ShareGPT: another speaker", shared(("critic", "?")), "role", "/conversations/0"),
    Refused("ShareGPT: a value that is a number", shared(("human", 7)), "message",
            "/conversations/0"),
    Refused("ShareGPT: a system prompt that is a number", shared(("human", "Hi"), ("system", 7)),
            "message", "/conversations/1"),
    Refused("ShareGPT: a system prompt without a value",
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "system"}]}, "message",
            "/conversations/1"),
    Refused("ShareGPT: a call that is not JSON",
            shared(("human", "?"), ("function_call", "find()")), "arguments", "/conversations/1"),
    Refused("ShareGPT: a call that is a number", shared(("human", "?"), ("function_call", "7")),
            "arguments", "/conversations/1"),
    Refused("ShareGPT: a tag that is not JSON",
            shared(("human", "?"), ("gpt", "<tool_call>find()</tool_call>")), "arguments",
            "/conversations/1"),
    Refused("ShareGPT: a tool in a prompt that is not JSON",
            shared(("system", "<tools>\nfind()\n</tools>"), ("human", "Hi"), ("gpt", "Hello")),
            "tools", None),
    Refused("unified: another speaker",
            unified(asks("Hi"), {"speaker": "agent", "utterance": "?"}), "message", "/turns/1"),
    Refused("unified: a state that is a list", unified(asks("Hi", ["area"])), "message",
            "/turns/0"),
    Refused("unified: a call without a method",
            unified(asks("?"), answers(".", service_call={"a": 1})), "message", "/turns/1"),
]  # fmt: skip
