from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra 'train'")

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.training.tiny import make_tiny
from tests.training.chat_rows import read, write_sft_rows

SMALL = TinyConfig(vocabulary=600, width=32, layers=1, heads=2, result_characters=60, practice=0)

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "Cafes_1-FindCafe",
            "description": "Find a café",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "terrace": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
RESULT = '{"name":"Cafes_1-FindCafe","status":"success","results":[{"city":"Łódź"},{"city":"B"}]}'
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "A café in Łódź?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "type": "function",
                "id": "call_0",
                "function": {"name": "Cafes_1-FindCafe", "arguments": {"city": "Łódź"}},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_0", "content": RESULT},
    {"role": "assistant", "content": "I found 2."},
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return read(write_sft_rows(tmp_path_factory.mktemp("rows") / "sft.jsonl", "train", 8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "model"
    make_tiny(path, rows, SMALL)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder)


def test_the_folder_is_one_that_transformers_loads(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.num_hidden_layers == 1
    assert model.config.max_position_embeddings == SMALL.context
    assert not list(folder.glob("*.bin"))


def test_the_template_says_what_a_tiny_model_can_use(tokenizer: Any) -> None:
    assert tokenizer.apply_chat_template(MESSAGES, tools=TOOLS, tokenize=False) == (
        "<|im_start|>tools\nCafes_1-FindCafe(city*, terrace)<|im_end|>\n"
        "<|im_start|>user\nA café in Łódź?<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "Cafes_1-FindCafe", "arguments": '
        '{"city": "Łódź"}}\n</tool_call><|im_end|>\n'
        '<|im_start|>tool\n2 "status":"success" [{"city":"Łódź"},{"city":"B"}]}<|im_end|>\n'
        "<|im_start|>assistant\nI found 2.<|im_end|>\n"
    )


def test_a_long_result_is_cut_and_an_error_is_told_from_its_begin(tokenizer: Any) -> None:
    error = '{"name":"A-B","status":"error","error":"' + "x" * 100 + '"}'
    text = tokenizer.apply_chat_template(
        [*MESSAGES[:3], {"role": "tool", "content": error}], tokenize=False
    )
    assert text.endswith(f"<|im_start|>tool\n{error[:60]}<|im_end|>\n")


def test_each_role_is_one_token(tokenizer: Any) -> None:
    for role in ("tools", "user", "assistant", "tool"):
        assert len(tokenizer.encode(f"<|im_start|>{role}\n")) == 1


def test_calls_are_read_back(tokenizer: Any) -> None:
    text = tokenizer.apply_chat_template(MESSAGES[1:3], tokenize=False)
    said = text.split("assistant\n")[1].removesuffix("<|im_end|>\n")
    (call,) = parse_reply(said).tool_calls
    assert (call.name, call.arguments) == ("Cafes_1-FindCafe", {"city": "Łódź"})


def test_what_the_assistant_wrote_is_marked_and_nothing_else(tokenizer: Any) -> None:
    written = tokenizer.apply_chat_template(
        MESSAGES, tools=TOOLS, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = zip(written["input_ids"], written["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, mark in marked if mark]) == (
        '<tool_call>\n{"name": "Cafes_1-FindCafe", "arguments": {"city": "Łódź"}}\n</tool_call>'
        "<|im_end|>I found 2.<|im_end|>"
    )


def test_a_conversation_that_goes_on_begins_with_the_same_tokens(
    tokenizer: Any, rows: list[dict[str, Any]]
) -> None:
    messages, tools = rows[0]["messages"], rows[0]["tools"]
    whole = tokenizer.apply_chat_template(messages, tools=tools, return_dict=False)
    for place, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = tokenizer.apply_chat_template(
            messages[:place], tools=tools, add_generation_prompt=True, return_dict=False
        )
        assert whole[: len(prompt)] == prompt


@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_comes_back_from_its_tokens(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_stay_apart(tokenizer: Any) -> None:
    assert tokenizer.tokenize("19:30") == ["1", "9", ":", "3", "0"]


def test_a_name_is_the_same_tokens_in_a_conversation_and_in_a_call(tokenizer: Any) -> None:
    name = tokenizer.tokenize("Crooked Telephone")
    for text in ("by Crooked Telephone.", '{"artist": "Crooked Telephone"}', "Crooked Telephone"):
        tokens = tokenizer.tokenize(text)
        begins = [
            place for place in range(len(tokens)) if tokens[place : place + len(name)] == name
        ]
        assert len(begins) == 1


def test_a_call_is_written_with_its_arguments_sorted(tokenizer: Any) -> None:
    function = {"name": "A-B", "arguments": {"time": "1", "city": "Ur"}}
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": function}]}
    text = tokenizer.apply_chat_template([call], tokenize=False)
    assert '{"city": "Ur", "time": "1"}' in text


def test_a_seed_gives_the_same_weights(
    tmp_path: Path, folder: Path, rows: list[dict[str, Any]]
) -> None:
    make_tiny(tmp_path / "same", rows, SMALL)
    same = AutoModelForCausalLM.from_pretrained(tmp_path / "same").state_dict()
    for name, weights in AutoModelForCausalLM.from_pretrained(folder).state_dict().items():
        assert torch.equal(weights, same[name])
    assert (tmp_path / "same/tokenizer.json").read_bytes() == (
        folder / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize(("width", "heads"), [(7, 3), (6, 2), (128, 3)])
def test_a_width_that_does_not_fit_the_heads_is_refused(width: int, heads: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of twice the heads .*, not {width}"):
        TinyConfig(width=width, heads=heads)
