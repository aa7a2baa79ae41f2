from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("transformers", reason="the extra train is not installed")
pytest.importorskip("llguidance", reason="the extra train is not installed")

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from agent_gym_env.errors import DataError, PermanentLMError, TransientLMError
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.torch_cache import PAGE
from agent_gym_env.lm.torch_generation import Draft, Generator
from agent_gym_env.lm.transformers_client import (
    LoadedModel,
    TransformersClient,
    _Asked,
    load_model,
)
from agent_gym_env.training.config import TinyConfig
from agent_gym_env.types import Usage
from tests.local_models import conversations, load, requests, write_model

SAID = [{"role": "user", "content": "Is there a cafe in Bergen?"}]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(write_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return conversations(4)


def answers(client: TransformersClient, asked: list[Request]) -> list[Response]:
    outcomes = client.complete_many(asked)
    assert all(isinstance(outcome, Response) for outcome in outcomes)
    return [outcome for outcome in outcomes if isinstance(outcome, Response)]


def turn_by_turn(client: TransformersClient, rows: list[dict[str, Any]], **options: Any) -> Any:
    """Return the tokens of a model's answers in each step of concurrent conversations."""
    steps = [requests(row, max_tokens=6, **options)[:5] for row in rows]
    return [
        [answer.token_ids for answer in answers(client, [s[at] for s in steps if at < len(s)])]
        for at in range(max(map(len, steps)))
    ]


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "seed": 3}])
def test_what_is_kept_between_turns_changes_no_answer(
    loaded: LoadedModel, rows: list[dict[str, Any]], options: dict[str, Any]
) -> None:
    kept = TransformersClient(loaded)
    forgetful = TransformersClient(loaded, cache_bytes=0)
    assert turn_by_turn(kept, rows, **options) == turn_by_turn(forgetful, rows, **options)
    assert forgetful.counts.reused_tokens == 0
    assert kept.counts.prompt_tokens == forgetful.counts.prompt_tokens
    assert kept.counts.reused_tokens > 0.5 * kept.counts.prompt_tokens


def test_a_cache_too_small_for_all_changes_no_answer(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    page_bytes = 2 * 2 * PAGE * 32 * 4
    small = TransformersClient(loaded, cache_bytes=20 * page_bytes)
    assert turn_by_turn(small, rows) == turn_by_turn(TransformersClient(loaded), rows)
    assert small.counts.reused_tokens > 0


def test_a_batch_changes_no_answer(loaded: LoadedModel, rows: list[dict[str, Any]]) -> None:
    asked = [request for row in rows for request in requests(row, max_tokens=6)[:3]]
    together = answers(TransformersClient(loaded), asked)
    alone = answers(TransformersClient(loaded, batch_size=1), asked)
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]
    assert len({a.token_ids for a in alone}) > len(alone) // 2


def test_the_answer_is_what_transformers_itself_generates(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    request = requests(rows[0], max_tokens=12)[1]
    (answer,) = answers(TransformersClient(loaded, guided=False), [request])
    ids = loaded.tokenizer.apply_chat_template(
        list(request.messages), tools=list(request.tools), add_generation_prompt=True,
        return_tensors="pt",
    )  # fmt: skip
    generated = loaded.model.generate(**ids, max_new_tokens=12, do_sample=False)
    prompt = ids["input_ids"].shape[1]
    assert answer.token_ids == tuple(generated[0, prompt:].tolist())
    assert answer.usage == Usage(prompt, 12)


def test_a_model_that_looks_back_through_a_window_keeps_nothing(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    config = Qwen2Config.from_dict(
        {
            **loaded.model.config.to_dict(), "use_sliding_window": True, "sliding_window": 16,
            "max_window_layers": 1, "layer_types": ["full_attention", "sliding_attention"],
        }
    )  # fmt: skip
    model: Any = Qwen2ForCausalLM(config)
    model.load_state_dict(loaded.model.state_dict())
    windowed = LoadedModel(model.eval(), loaded.tokenizer, "windowed")
    asked = [request for row in rows for request in requests(row, max_tokens=6)[:2]]
    client = TransformersClient(windowed)
    together = [a.token_ids for a in answers(client, asked)]
    alone = [a.token_ids for a in answers(TransformersClient(windowed, batch_size=1), asked)]
    assert together == alone
    assert client.counts.reused_tokens == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_with_convolutions_is_not_changed_by_the_lengths_of_other_prompts(
    temperature: float, tmp_path: Path
) -> None:
    folder = write_model(
        tmp_path / "tiny", TinyConfig(vocabulary=512, width=32, layers=4, practice=0)
    )
    model: Any = load(folder).model
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter))
    model.save_pretrained(folder)
    said = [[{"role": "user", "content": "cafe " * 4**n}] for n in range(5)]
    asked = [
        Request(each, temperature=temperature, seed=n, max_tokens=12) for n, each in enumerate(said)
    ]
    together = answers(TransformersClient(folder), asked)
    alone = answers(TransformersClient(folder, batch_size=1), asked)
    assert [a.token_ids for a in together] == [a.token_ids for a in alone]


def test_a_seed_repeats_its_draws_whatever_else_is_asked(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    asked = requests(rows[0], max_tokens=8, temperature=1.0, seed=5)[0]
    others = [requests(row, max_tokens=4, temperature=1.0, seed=9)[0] for row in rows[1:]]
    client = TransformersClient(loaded)
    first = answers(client, [asked])[0].token_ids
    assert answers(client, [*others, asked])[-1].token_ids == first
    other = requests(rows[0], max_tokens=8, temperature=1.0, seed=6)[0]
    assert answers(client, [other])[0].token_ids != first


def test_without_a_seed_draws_differ(loaded: LoadedModel) -> None:
    request = Request(SAID, temperature=1.0, max_tokens=8)
    client = TransformersClient(loaded)
    assert client.complete(request).token_ids != client.complete(request).token_ids


def test_an_answer_ends_after_max_tokens(loaded: LoadedModel) -> None:
    answer = TransformersClient(loaded, guided=False).complete(Request(SAID, max_tokens=5))
    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_an_answer_ends_where_a_stop_text_begins(loaded: LoadedModel) -> None:
    client = TransformersClient(loaded, guided=False)
    whole = client.complete(Request(SAID, max_tokens=20)).text
    stop = whole[4:7]
    cut = client.complete(Request(SAID, max_tokens=20, stop=(stop,)))
    assert cut.text == whole[: whole.index(stop)].strip()
    assert cut.finish_reason == "stop"


def test_a_call_for_which_there_is_room_is_made(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    request = requests(rows[0], temperature=1.0, seed=1, tool_choice="required")[0]
    answer = TransformersClient(loaded, max_new_tokens=1500).complete(request)
    assert answer.finish_reason == "tool_calls"
    assert answer.tool_calls[0].name in {tool["function"]["name"] for tool in request.tools}
    assert answer.text == ""
    assert answer.completion().token_ids == answer.token_ids


def test_half_a_call_in_a_full_context_is_no_call(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    request = requests(rows[0], tool_choice="required", temperature=1.0, seed=1)[0]
    client = TransformersClient(loaded, max_new_tokens=4, context=_length(loaded, request) + 8)
    answer = client.complete(request)
    assert (answer.tool_calls, answer.text, answer.finish_reason) == ((), "", "length")


def test_half_a_call_before_a_stop_is_neither_a_call_nor_words(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    request = requests(rows[0], tool_choice="required", stop=("name",))[0]
    answer = TransformersClient(loaded, max_new_tokens=64).complete(request)
    assert (answer.tool_calls, answer.text, answer.finish_reason) == ((), "", "stop")


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#/$defs/A"}, {"type": "string", "pattern": "^((a{1000}){1000}){1000}$"}],
)
def test_a_schema_that_no_answer_follows_is_an_error_of_its_request(
    loaded: LoadedModel, schema: dict[str, Any]
) -> None:
    parameters = {
        "type": "object", "properties": {"a": schema}, "required": ["a"],
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
    }  # fmt: skip
    tools = [{"type": "function", "function": {"name": "F", "parameters": parameters}}]
    client = TransformersClient(loaded, max_new_tokens=64)
    endless = Request(SAID, tools=tools, tool_choice="required")
    good, bad = client.complete_many([Request(SAID), endless])
    assert isinstance(good, Response)
    assert isinstance(bad, PermanentLMError)
    assert "the schemas of the request cannot be followed" in str(bad)


def _length(loaded: LoadedModel, request: Request) -> int:
    usage = TransformersClient(loaded, max_new_tokens=1).complete(request).usage
    assert usage is not None
    return usage.prompt_tokens


def test_one_bad_request_does_not_spoil_the_others(loaded: LoadedModel) -> None:
    client = TransformersClient(loaded, max_new_tokens=4)
    long = Request([{"role": "user", "content": "cafe " * 3000}])
    good, bad = client.complete_many([Request(SAID), long])
    assert isinstance(good, Response)
    assert isinstance(bad, PermanentLMError)
    assert "without all the earlier turns" in str(bad)
    with pytest.raises(PermanentLMError):
        client.complete(long)


def test_a_schema_that_is_none_does_not_spoil_the_others(loaded: LoadedModel) -> None:
    function = {"name": "F", "parameters": {"properties": {"a": {"enum": []}}}}
    client = TransformersClient(loaded, max_new_tokens=4)
    good, bad = client.complete_many([Request(SAID), Request(SAID, [{"function": function}])])
    assert isinstance(good, Response)
    assert isinstance(bad, PermanentLMError)


def test_who_waited_with_a_request_that_broke_the_model_may_ask_again(loaded: LoadedModel) -> None:
    class Breaks(Generator):
        def __init__(self) -> None:
            self.pool = None

        def run(self, drafts: Sequence[Draft]) -> None:
            raise MemoryError

    client = TransformersClient(loaded)
    client._generator = Breaks()
    waits = _Asked(Request(SAID))
    client._waiting.append(waits)
    with pytest.raises(MemoryError):
        client.complete(Request(SAID))
    assert isinstance(waits.outcome, TransientLMError)


@pytest.mark.parametrize(("choice", "calls"), [("none", 0), (None, 1)])
def test_where_no_call_is_wanted_none_is_given(
    loaded: LoadedModel, choice: str | None, calls: int
) -> None:
    class Calls(Generator):
        def __init__(self) -> None:
            self.pool = None

        def run(self, drafts: Sequence[Draft]) -> None:
            said = 'Hm. <tool_call>\n{"name": "F", "arguments": {}}\n</tool_call>'
            drafts[0].tokens = loaded.tokenizer.encode(said)

    client = TransformersClient(loaded)
    client._generator = Calls()
    tools = [{"function": {"name": "F", "parameters": {}}}]
    answer = client.complete(Request(SAID, tools, tool_choice=choice))
    assert (answer.text, len(answer.tool_calls)) == ("Hm.", calls)
    assert (answer.finish_reason == "tool_calls") is bool(calls)


def test_requests_of_many_threads_are_each_answered(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    asked = [request for row in rows for request in requests(row, max_tokens=6)[:3]]
    expected = [a.token_ids for a in answers(TransformersClient(loaded), asked)]
    client = TransformersClient(loaded)
    found: dict[int, Any] = {}

    def ask(number: int) -> None:
        found[number] = client.complete(asked[number]).token_ids

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(asked))] == expected


def test_new_weights_need_a_fresh_cache(loaded: LoadedModel, tmp_path: Path) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    mine = load(tmp_path)
    client = TransformersClient(mine)
    request = Request(SAID * 6, max_tokens=8)
    before = client.complete(request).token_ids
    with torch.no_grad():
        for parameter in mine.model.parameters():
            parameter.mul_(-1.5)
    client.forget()
    assert client.complete(request).token_ids != before
    assert client.complete(request).token_ids == (
        TransformersClient(mine, cache_bytes=0).complete(request).token_ids
    )


def test_without_guides_what_needs_them_is_refused(loaded: LoadedModel) -> None:
    client = TransformersClient(loaded, guided=False)
    with pytest.raises(PermanentLMError, match="guided=True"):
        client.complete(Request(SAID, response_format={"type": "object"}))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a model in Hugging Face"):
        load_model(tmp_path)


def test_weights_in_pickles_are_not_read(loaded: LoadedModel, tmp_path: Path) -> None:
    loaded.model.config.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    torch.save(loaded.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        load_model(tmp_path)


def test_a_template_that_writes_other_calls_cannot_be_guided(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    template = tmp_path / "chat_template.jinja"
    template.write_text(template.read_text().replace("<tool_call>", "[CALL]"))
    with pytest.raises(ValueError, match="guided=False"):
        TransformersClient(tmp_path)
    TransformersClient(tmp_path, guided=False)


@pytest.mark.parametrize("options", [{"dtype": "foo"}, {"device": "nosuch"}, {"device": "cuda:99"}])
def test_a_place_that_is_none_is_named(
    loaded: LoadedModel, tmp_path: Path, options: dict[str, str]
) -> None:
    loaded.model.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    (value,) = options.values()
    with pytest.raises(ValueError, match=f"'{value}'"):
        load_model(tmp_path, **options)


def test_the_folder_at_hand_has_a_name(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded.model.save_pretrained(tmp_path / "mine")
    loaded.tokenizer.save_pretrained(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert load_model(".").name == "mine"


def test_the_name_is_the_folder_s(loaded: LoadedModel) -> None:
    assert TransformersClient(loaded).name == "tiny"
    assert TransformersClient(loaded, name="mine").name == "mine"


def test_what_a_model_writes_in_reasoning_that_its_template_opened_is_not_said(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    tokenizer = copy.copy(loaded.tokenizer)
    tokenizer.chat_template += "{{ '<think>' }}"
    thinking = msgspec.structs.replace(loaded, tokenizer=tokenizer)
    client = TransformersClient(thinking, max_new_tokens=24)
    asked = requests(rows[0])[:4]
    for answer in client.complete_many(asked):
        assert isinstance(answer, Response)
        assert (answer.text, answer.tool_calls) == ("", ())
    must_call = msgspec.structs.replace(asked[0], tool_choice="required")
    forced = TransformersClient(thinking, max_new_tokens=600).complete(must_call)
    assert forced.tool_calls


def test_at_most_one_call_is_made_where_no_more_are_wanted(
    loaded: LoadedModel, rows: list[dict[str, Any]]
) -> None:
    client = TransformersClient(loaded, max_new_tokens=600, temperature=1.0)
    asked = [
        msgspec.structs.replace(
            requests(rows[0])[0], tool_choice="required", parallel_tool_calls=wanted, seed=seed
        )
        for wanted in (False, None)
        for seed in range(4)
    ]
    counts = [len(answer.tool_calls) for answer in map(client.complete, asked)]
    assert counts[:4] == [1, 1, 1, 1]
    assert max(counts[4:]) > 1
