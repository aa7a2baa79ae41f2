from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("llguidance", reason="the extra train is not installed")
pytest.importorskip("transformers", reason="the extra train is not installed")

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.tool_specs import openai_function
from agent_gym_env.errors import PermanentLMError
from agent_gym_env.lm.base import Request
from agent_gym_env.lm.guided import MAX_CALLS, MAX_STRING, CallGrammar, CallGuide
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.rewards.rubric import (
    MAX_REASON_CHARS,
    MAX_VERDICT_TOKENS,
    RESPONSE_QUALITY,
    TOOL_CORRECTNESS,
    read_verdict,
    verdict_schema,
)
from agent_gym_env.tools.validation import ToolCatalogue
from agent_gym_env.types import ToolCall
from tests.local_models import llama_tokenizer, load, write_model

CRITERIA = (RESPONSE_QUALITY, TOOL_CORRECTNESS)
AWKWARD: dict[str, dict[str, Any]] = {
    "Bäume-Fällen": {"properties": {"größe": {"type": "string", "enum": ["groß", 'so "la la"']}}},
    "Ünïcode_1-查找": {
        "properties": {"城市": {"type": "string", "enum": ["東京", "a\\b", "</tool_call>", ""]}},
        "required": ["城市"],
    },
    "None_1-Empty": {"properties": {}},
    "None_2-Nothing": {},
    "Types_1-All": {
        "properties": {
            "count": {"type": "integer"},
            "price": {"type": "number"},
            "open": {"type": "boolean"},
            "short": {"type": "string", "minLength": 2, "maxLength": 3},
            "list": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        },
        "required": ["open", "short", "count"],
    },
    "Loose_1-Undeclared": {"properties": {}, "required": ["what"]},
}


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


AWKWARD_TOOLS = [
    tool(name, {"type": "object", **parameters}) for name, parameters in AWKWARD.items()
]
CITY = tool(
    "Cafes_1-FindCafe",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "day": {"type": "string"}},
        "required": ["city"],
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return load(folder).tokenizer


@pytest.fixture(scope="module")
def grammar(tokenizer: Any) -> CallGrammar:
    return CallGrammar(tokenizer, len(tokenizer), [tokenizer.eos_token_id])


@pytest.fixture(scope="module")
def plain_tokenizer() -> Any:
    """One that knows nothing of calls: their tags are text like any other."""
    model = Tokenizer(BPE())
    model.pre_tokenizer = ByteLevel(False)
    model.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=["<end>"], initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    texts = ['a <b> <tool_call>\n{"name": "x", "arguments": {"y": "z"}}\n</tool_call> c'] * 50
    model.train_from_iterator(texts, trainer)
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=model, eos_token="<end>")


def allowed(guide: CallGuide, vocabulary: int) -> list[int]:
    masks = np.zeros((1, -(-vocabulary // 32)), np.int32)
    guide.fill(masks, 0)
    bits = np.unpackbits(masks[0].view(np.uint8), bitorder="little")
    return [int(token) for token in np.flatnonzero(bits)]


def follow(guide: CallGuide | None, tokenizer: Any, text: str) -> bool:
    """Return whether the guide allows a text."""
    assert guide is not None
    for token in tokenizer(text, add_special_tokens=False).input_ids:
        if token not in allowed(guide, len(tokenizer)):
            return False
        guide.advance(token)
    return True


def drawn(guide: CallGuide | None, tokenizer: Any, draws: random.Random, most: int = 3000) -> str:
    """Draw a text from uniformly likely tokens; it ends at the first chance after 60 tokens."""
    assert guide is not None
    said: list[int] = []
    for _ in range(most):
        choices = allowed(guide, len(tokenizer))
        assert choices
        if len(said) > 60 and tokenizer.eos_token_id in choices:
            break
        token = draws.choice(choices)
        if token == tokenizer.eos_token_id:
            break
        said.append(token)
        guide.advance(token)
    else:
        pytest.fail("the text did not end")
    return str(tokenizer.decode(said))


def call_text(arguments: str, name: str = "Cafes_1-FindCafe") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {{{arguments}}}}}\n</tool_call>'


@pytest.mark.parametrize("seed", range(6))
def test_every_call_of_a_random_model_is_one_that_the_environment_takes(
    seed: int, grammar: CallGrammar, tokenizer: Any
) -> None:
    split = open_corpus("sample").split("train")
    catalogue = ToolCatalogue(split.tools)
    draws = random.Random(seed)
    task = split.task(seed)
    specs = [spec for spec in split.tools.values() if spec.service in task.services]
    tools = [openai_function(spec) for spec in specs]
    request = Request([], tools=tools, tool_choice="required")
    for _ in range(4):
        calls = parse_reply(drawn(grammar.guide(request), tokenizer, draws)).tool_calls
        assert calls
        for call in calls:
            spec = catalogue.resolve(call.name)
            assert not isinstance(spec, str)
            assert catalogue.problem(spec, call.arguments) is None


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["special", "plain"])
def test_awkward_schemas_are_followed(
    seed: int, kind: str, tokenizer: Any, plain_tokenizer: Any
) -> None:
    chosen = tokenizer if kind == "special" else plain_tokenizer
    grammar = CallGrammar(chosen, len(chosen), [chosen.eos_token_id])
    request = Request([], tools=AWKWARD_TOOLS, tool_choice="required")
    text = drawn(grammar.guide(request), chosen, random.Random(seed))
    calls = parse_reply(text).tool_calls
    assert len(calls) == text.count("<tool_call>")
    for call in calls:
        _check(call)


def _check(call: ToolCall) -> None:
    schema = AWKWARD[call.name]
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    assert set(required) <= call.arguments.keys() <= {*properties, *required}
    kinds: dict[str, Any] = {
        "string": str,
        "integer": int,
        "boolean": bool,
        "number": (int, float),
        "array": list,
    }
    for name, value in call.arguments.items():
        of = properties.get(name, {})
        assert value in of.get("enum", [value])
        if "type" in of:
            assert isinstance(value, kinds[of["type"]])
        if "maxLength" in of:
            assert of["minLength"] <= len(value) <= of["maxLength"]


@pytest.mark.parametrize("kind", ["special", "plain"])
def test_words_are_free_until_a_call_begins(
    kind: str, tokenizer: Any, plain_tokenizer: Any
) -> None:
    chosen = tokenizer if kind == "special" else plain_tokenizer
    grammar = CallGrammar(chosen, len(chosen), [chosen.eos_token_id])
    guide = grammar.guide(Request([], tools=[CITY]))
    assert guide is not None
    assert follow(guide, chosen, 'It is 3 < 4 {"name": and so on ')
    assert guide.may_stop()
    assert follow(guide, chosen, "<tool_call>")
    assert not guide.may_stop()
    assert not follow(guide, chosen, "so")


@pytest.mark.parametrize(
    ("arguments", "fits"),
    [
        ('"city": "Bergen"', True),
        ('"city": "Bergen", "day": "Friday"', True),
        ('"day": "Friday", "city": "Bergen"', True),
        ('"city": "say \\"hi\\" \\\\ twice"', True),
        ('"city": ""', True),
        ('"day": "Friday"', False),
        ("", False),
        ('"city": "a", "city": "b"', False),
        ('"city": "a", "town": "b"', False),
        ('"city": 3', False),
        ('"city": "a<b"', False),
    ],
)
def test_arguments_come_in_any_order_each_once_and_the_required_ones_all(
    arguments: str, fits: bool, grammar: CallGrammar, tokenizer: Any
) -> None:
    guide = grammar.guide(Request([], tools=[CITY]))
    assert follow(guide, tokenizer, call_text(arguments)) is fits
    assert guide is not None
    assert guide.may_stop() is fits


def test_a_text_of_an_argument_has_an_end(grammar: CallGrammar, tokenizer: Any) -> None:
    guide = grammar.guide(Request([], tools=[CITY]))
    assert follow(guide, tokenizer, call_text('"city": "' + "ab" * 128)[: -len("}}\n</tool_call>")])
    assert not follow(guide, tokenizer, "a")


def test_several_calls_may_follow_each_other_but_not_without_end(
    grammar: CallGrammar, tokenizer: Any
) -> None:
    call = call_text('"city": "a"')
    many = grammar.guide(Request([], tools=[CITY]))
    assert follow(many, tokenizer, "\n".join([call] * MAX_CALLS))
    assert not follow(many, tokenizer, call)


def test_a_tokenizer_with_a_special_unknown_token_is_guided() -> None:
    """It answers a tag that it does not have with its unknown token, which is special."""
    llama = llama_tokenizer()
    assert llama.convert_tokens_to_ids("<tool_call>") == llama.unk_token_id
    guides = CallGrammar(llama, len(llama), [llama.eos_token_id])
    request = Request([], tools=[CITY], tool_choice="required")
    assert follow(guides.guide(request), llama, call_text('"city": "Tromsø"'))
    [*calls] = parse_reply(drawn(guides.guide(request), llama, random.Random(0))).tool_calls
    assert calls
    assert {call.name for call in calls} == {"Cafes_1-FindCafe"}


@pytest.mark.parametrize("choice", [None, "required"])
def test_where_only_one_call_is_wanted_no_second_can_be_written(
    choice: str | None, grammar: CallGrammar, tokenizer: Any
) -> None:
    request = Request([], tools=[CITY], tool_choice=choice, parallel_tool_calls=False)
    guide = grammar.guide(request)
    assert follow(guide, tokenizer, call_text('"city": "a"'))
    assert guide is not None
    assert guide.may_stop()
    assert not follow(guide, tokenizer, "\n<tool_call>")
    many = msgspec.structs.replace(request, parallel_tool_calls=None)
    assert follow(grammar.guide(many), tokenizer, "\n".join([call_text('"city": "a"')] * 2))


def test_no_other_name_can_be_called(grammar: CallGrammar, tokenizer: Any) -> None:
    text = call_text('"city": "a"', name="Cafes_1-Find")
    assert not follow(grammar.guide(Request([], tools=[CITY])), tokenizer, text)


def test_a_tool_that_is_named_must_be_called(grammar: CallGrammar, tokenizer: Any) -> None:
    named = {"type": "function", "function": {"name": "Cafes_1-FindCafe"}}
    request = Request([], tools=[*AWKWARD_TOOLS, CITY], tool_choice=named)
    assert not follow(grammar.guide(request), tokenizer, "Hello")
    assert not follow(grammar.guide(request), tokenizer, call_text("", name="None_1-Empty"))
    assert follow(grammar.guide(request), tokenizer, call_text('"city": "a"'))


def test_an_argument_may_be_anything_and_may_need_a_long_text(
    grammar: CallGrammar, tokenizer: Any
) -> None:
    def call(value: Any) -> str:
        written = json.dumps({"name": "F", "arguments": {"a": value}})
        return f"<tool_call>\n{written}\n</tool_call>"

    anything = Request([], tools=[tool("F", {"properties": {"a": True}})])
    assert follow(grammar.guide(anything), tokenizer, call(3))
    assert follow(grammar.guide(anything), tokenizer, call("x"))
    least = {"type": "string", "minLength": MAX_STRING + 1}
    long = Request([], tools=[tool("F", {"properties": {"a": least}})])
    assert follow(grammar.guide(long), tokenizer, call("x" * (MAX_STRING + 1)))
    assert not follow(grammar.guide(long), tokenizer, call("x" * MAX_STRING))


def test_a_text_that_must_be_empty_can_be_written(grammar: CallGrammar, tokenizer: Any) -> None:
    empty = {"properties": {"city": {"type": "string", "maxLength": 0}}}
    request = Request([], tools=[tool("Cafes_1-FindCafe", empty)])
    assert follow(grammar.guide(request), tokenizer, call_text('"city": ""'))
    assert not follow(grammar.guide(request), tokenizer, call_text('"city": "a"'))


def test_nothing_is_ruled_out_where_nothing_can_be_called(grammar: CallGrammar) -> None:
    assert grammar.guide(Request([])) is None
    assert grammar.guide(Request([], tools=[CITY], tool_choice="none")) is None


def test_a_response_format_is_followed(grammar: CallGrammar, tokenizer: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"score": {"enum": [0, 0.5, 1]}},
        "required": ["score"],
        "additionalProperties": False,
    }
    request = Request([], response_format=schema)
    for seed in range(5):
        text = drawn(grammar.guide(request), tokenizer, random.Random(seed))
        assert msgspec.json.decode(text)["score"] in (0, 0.5, 1)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Request([], tools=[CITY], tool_choice={"function": {"name": "Other"}}),
            "'Other', which is not among the tools",
        ),
        (Request([], response_format={"type": "nonsense"}), "cannot be followed"),
        (
            Request([], tools=[tool("Big", {"properties": {str(n): {} for n in range(65)}})]),
            "65 arguments",
        ),
        (Request([], tool_choice="required"), "the request has no tools"),
        (
            Request([], response_format={"enum": [str(n) for n in range(100_000)]}),
            "characters; at most 524288 can be followed",
        ),
        *(
            (
                Request([], tools=[tool("F", parameters)]),
                f"the tool F are not a JSON schema: {said}",
            )
            for parameters, said in (
                ({"properties": {"a": {"enum": []}}}, "Expected `array` of length >= 1"),
                ({"properties": {"a": {"minLength": "x"}}}, "Expected `int`, got `str`"),
                ({"properties": {"a": {"maxLength": -1}}}, "Expected `int` >= 0"),
                ({"properties": {"a": 3}}, "Expected `bool | object`"),
                ({"properties": "none"}, "Expected `object | null`"),
                ({"required": "a"}, "Expected `array | null`"),
            )
        ),
    ],
)
def test_what_cannot_be_followed_is_said(
    request_: Request, message: str, grammar: CallGrammar
) -> None:
    with pytest.raises(PermanentLMError, match=re.escape(message)):
        grammar.guide(request_)


def test_answers_do_not_disturb_each_other(grammar: CallGrammar, tokenizer: Any) -> None:
    request = Request([], tools=[CITY])
    first, second = grammar.guide(request), grammar.guide(request)
    assert follow(first, tokenizer, "<tool_call>")
    assert second is not None
    assert second.may_stop()


def test_every_verdict_of_a_random_judge_comes_to_its_end(
    grammar: CallGrammar, tokenizer: Any
) -> None:
    schema = verdict_schema("0123456789abcdef", CRITERIA)
    request = Request([], response_format=schema)
    for seed in range(4):
        text = drawn(grammar.guide(request), tokenizer, random.Random(seed), MAX_VERDICT_TOKENS)
        verdict = read_verdict(text, "0123456789abcdef", CRITERIA)
        assert len(verdict.reason) <= MAX_REASON_CHARS
