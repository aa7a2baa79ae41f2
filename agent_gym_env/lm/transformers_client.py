"""A model in this process: a Hugging Face folder or name, loaded by transformers."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from agent_gym_env.chat import tool_names
from agent_gym_env.errors import LMError, PermanentLMError, TransientLMError
from agent_gym_env.extras import require
from agent_gym_env.lm.base import Request, Response
from agent_gym_env.lm.chat_templates import with_tools
from agent_gym_env.lm.guided import CallGrammar, CallGuide
from agent_gym_env.lm.huggingface_models import (
    locate_model,
    no_progress_bar,
    reading_model,
    refuse_missing,
)
from agent_gym_env.lm.parse import parse_reply
from agent_gym_env.lm.torch_generation import Draft, Generator, batches
from agent_gym_env.lm.transformers_prompt import ChatTokenizer
from agent_gym_env.types import AtLeast0, AtLeast1, FromZero, Usage

torch: Any = require("torch", extra="train")
transformers: Any = require("transformers", extra="train")

_MAX_REASON = 500
_FREE_CHOICES = (None, "auto", "none")


class LoadedModel(msgspec.Struct, frozen=True, eq=False):
    """A model in memory.

    Attributes:
        model: causal language model of transformers.
        tokenizer: tokenizer of the model.
        name: name that reports show.
    """

    model: Any
    tokenizer: Any
    name: str


class Counts(msgspec.Struct):
    """Counts of a client's work so far.

    Attributes:
        answers: number of answers.
        batches: number of batches in which they were generated.
        prompt_tokens: total tokens of all prompts.
        reused_tokens: number of those tokens that were not read again.
        completion_tokens: total tokens of all answers.
    """

    answers: int = 0
    batches: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0


class TransformersClient:
    """A model that runs in this process, on a GPU or the CPU.

    Requests that arrive from several threads while it is busy are answered together.

    Args:
        checkpoint: a Hugging Face folder, the name of a fetched model, a name on the hub, or a
            model in memory. Weights are read from safetensors only, and no code that comes with a
            model is run.
        device: ``cuda``, ``cpu`` …; by default the GPU where there is one.
        dtype: ``bfloat16``, ``float32`` …; by default the first on a GPU, the second without one.
        max_new_tokens: most tokens of an answer; a request may set fewer.
        temperature: sampling temperature for requests without one; 0 takes the likeliest token.
        batch_size: number of answers that are generated at once.
        guided: whether calls must follow the schemas of their tools, so that none is malformed; for
            models whose chat template writes calls in Hermes' form.
        cache_bytes: size of the keys and values kept between answers, so that a continued
            conversation is not read again from its beginning; 0 for none.
        context: number of tokens that the model reads and writes; by default the number in its
            configuration.
        chat_template: a file, or one of ours, ``hermes``, ``compact`` or ``signatures``; by
            default the model's own template, or ``hermes`` if that does not support tools.
        name: name that reports show; by default that of the folder or model.

    Raises:
        DataError: the model cannot be found or loaded.
        ValueError: the device or dtype does not exist, or the tokenizer has no chat template, or
            has one that cannot be guided.
        MissingDependency: a library is not installed.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str] | LoadedModel,
        *,
        device: str | None = None,
        dtype: str | None = None,
        max_new_tokens: AtLeast1 = 256,
        temperature: FromZero = 0.0,
        batch_size: AtLeast1 = 64,
        guided: bool = True,
        cache_bytes: AtLeast0 = 1 << 30,
        context: AtLeast1 | None = None,
        chat_template: str | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(checkpoint, LoadedModel):
            checkpoint = load_model(checkpoint, device=device, dtype=dtype)
        tokenizer = with_tools(checkpoint.tokenizer, chat_template, checkpoint.name)
        checkpoint = msgspec.structs.replace(checkpoint, tokenizer=tokenizer)
        self.name = name or checkpoint.name
        self.counts = Counts()
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature
        self._batch_size = batch_size
        context = context or _context(checkpoint)
        self._prompts = ChatTokenizer(checkpoint.tokenizer, context)
        self._ends = _ends(checkpoint, self._prompts.end_of_turn())
        self._generator = Generator(
            checkpoint.model,
            checkpoint.tokenizer,
            ends=self._ends,
            context=context,
            cache_bytes=cache_bytes,
        )
        self._grammar = _call_grammar(checkpoint, self._prompts, self._ends) if guided else None
        self._vocabulary = checkpoint.model.get_input_embeddings().num_embeddings
        self._lock = threading.Lock()
        self._waiting: deque[_Asked] = deque()

    def complete(self, request: Request) -> Response:
        """Answer a request; see `LanguageModel.complete`."""
        return self.complete_while(request, _always)

    def complete_while(self, request: Request, is_wanted: Callable[[], bool]) -> Response:
        """Answer while the answer is wanted; see `StoppableModel.complete_while`."""
        (outcome,) = self._complete([_Asked(request, is_wanted)])
        if isinstance(outcome, LMError):
            raise outcome
        return outcome

    def complete_many(self, requests: Sequence[Request]) -> list[Response | LMError]:
        """Answer many requests, as many at once as a batch takes."""
        return self._complete([_Asked(request) for request in requests])

    def _complete(self, asked: list[_Asked]) -> list[Response | LMError]:
        self._waiting.extend(asked)
        with self._lock:
            # Another thread may have answered these requests together with its own.
            waiting = []
            while self._waiting:
                waiting.append(self._waiting.popleft())
            if waiting:
                self._answer(waiting)
        return [each.outcome for each in asked]

    def forget(self) -> None:
        """Remove cached keys and values, because the model's weights have changed."""
        if self._generator.pool is not None:
            self._generator.pool.clear()

    def close(self) -> None:
        """Do nothing."""

    def _answer(self, waiting: list[_Asked]) -> None:
        waiting = [each for each in waiting if each.is_wanted()]
        prompts = self._prompts.encode([each.request for each in waiting], self._max_new_tokens)
        drafts = {}
        for each, prompt in zip(waiting, prompts, strict=True):
            draft = self._draft(each, prompt)
            if isinstance(draft, Draft):
                drafts[each] = draft
            else:
                each.outcome = draft
        for batch in batches(list(drafts.values()), self._batch_size):
            self._generator.run(batch)
            self.counts.batches += 1
        for each, draft in drafts.items():
            each.outcome = self._outcome(each, draft)

    def _draft(
        self, asked: _Asked, prompt: list[int] | PermanentLMError
    ) -> Draft | PermanentLMError:
        if isinstance(prompt, PermanentLMError):
            return prompt
        try:
            return self._prepared(asked, prompt)
        except PermanentLMError as error:
            return error
        except Exception as error:  # noqa: BLE001  (a request may hold anything in its schemas)
            reason = f"{type(error).__name__}: {error}"[:_MAX_REASON]
            return PermanentLMError(f"the request cannot be prepared: {reason}")

    def _prepared(self, asked: _Asked, prompt: list[int]) -> Draft:
        request = asked.request
        asked.names = tool_names(request.tools)
        if max(prompt) >= self._vocabulary:
            raise PermanentLMError(
                f"the tokenizer writes the token {max(prompt)}, and the model knows those below "
                f"{self._vocabulary}: the tokenizer is that of another model"
            )
        temperature = request.temperature
        return Draft(
            prompt=prompt,
            max_tokens=min(request.max_tokens or self._max_new_tokens, self._max_new_tokens),
            temperature=self._temperature if temperature is None else temperature,
            random=_random(request, prompt),
            stop=request.stop,
            guide=self._guide(request),
            is_wanted=asked.is_wanted,
        )

    def _guide(self, request: Request) -> CallGuide | None:
        if self._grammar is not None:
            return self._grammar.guide(request)
        if request.response_format is not None or request.tool_choice not in _FREE_CHOICES:
            raise PermanentLMError(
                "response_format and this tool_choice need a guided model: pass guided=True"
            )
        return None

    def _outcome(self, asked: _Asked, draft: Draft) -> Response | PermanentLMError:
        problem = draft.guide.problem() if draft.guide is not None else None
        if problem is not None:
            return PermanentLMError(f"the schemas of the request cannot be followed: {problem}")
        return self._response(asked, draft)

    def _response(self, asked: _Asked, draft: Draft) -> Response:
        self.counts.answers += 1
        self.counts.prompt_tokens += len(draft.prompt)
        self.counts.reused_tokens += draft.reused
        self.counts.completion_tokens += len(draft.tokens)
        reply = parse_reply(self._reasoned(asked.request, draft), asked.names)
        calls = () if asked.request.tool_choice == "none" else reply.tool_calls
        if asked.request.parallel_tool_calls is False:
            calls = calls[:1]
        return Response(
            text=reply.text,
            tool_calls=calls,
            model=self.name,
            finish_reason="tool_calls" if calls else draft.finish,
            usage=Usage(len(draft.prompt), len(draft.tokens)),
            cost_usd=0.0,
            latency_s=time.monotonic() - asked.begun,
            token_ids=tuple(draft.tokens),
        )

    def _reasoned(self, request: Request, draft: Draft) -> str:
        """Return an answer's text, after the reasoning tag that the template has opened, if any."""
        is_free = request.response_format is None and request.tool_choice in _FREE_CHOICES
        is_open = is_free and self._prompts.opens_reasoning(draft.prompt)
        return f"{'<think>' if is_open else ''}{self._text_of(draft)}"

    def _text_of(self, draft: Draft) -> str:
        ids = draft.tokens[:-1] if draft.tokens[-1] in self._ends else draft.tokens
        text = self._prompts.decode(ids)
        if draft.guide is not None and not draft.guide.may_stop():
            # A call that was cut off would be read as another call or as words.
            before, tag, _ = text.rpartition("<tool_call>")
            text = before if tag else text
        return _cut(text, draft.stop)


def _always() -> bool:
    return True


class _Asked:
    """A request, and its answer when there is one."""

    def __init__(self, request: Request, is_wanted: Callable[[], bool] = _always) -> None:
        self.request = request
        self.is_wanted = is_wanted
        self.names: list[str] = []
        self.begun = time.monotonic()
        self.outcome: Response | LMError = TransientLMError("the model was interrupted")


def load_model(
    path: str | PathLike[str], *, device: str | None = None, dtype: str | None = None
) -> LoadedModel:
    """Load a model; see `TransformersClient`.

    Raises:
        DataError: the model cannot be found or loaded.
        ValueError: the device or dtype does not exist.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or ("bfloat16" if device.startswith("cuda") else "float32")
    precision = getattr(torch, dtype, None)
    if not isinstance(precision, torch.dtype):
        raise ValueError(f"dtype must be one of torch's, such as bfloat16, not {dtype!r}")
    source = locate_model(path)
    safe = {"trust_remote_code": False, "local_files_only": source.local_files_only}
    with reading_model(source.name), no_progress_bar.held():
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.name, **safe)
        model, loading_info = transformers.AutoModelForCausalLM.from_pretrained(
            source.name, dtype=precision, use_safetensors=True, output_loading_info=True, **safe
        )
    refuse_missing(source.name, loading_info)
    try:
        model = model.to(device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"cannot put the model on the device {device!r}: {error}") from error
    return LoadedModel(model.eval(), tokenizer, Path(os.path.abspath(source.name)).name)


def _call_grammar(loaded: LoadedModel, prompts: ChatTokenizer, ends: Iterable[int]) -> CallGrammar:
    if not prompts.writes_hermes_calls():
        raise ValueError(
            f"the chat template of {loaded.name} does not write calls as <tool_call> and JSON, so "
            "that they cannot be guided: pass guided=False (--unguided), or "
            "chat_template='hermes' (--chat-template hermes)"
        )
    vocabulary = loaded.model.config.get_text_config().vocab_size
    return CallGrammar(loaded.tokenizer, vocabulary, tuple(ends))


def _context(loaded: LoadedModel) -> int:
    config = loaded.model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", 1 << 20))


def _ends(loaded: LoadedModel, end_of_turn: int | None) -> frozenset[int]:
    return frozenset(_tokens(loaded, end_of_turn))


def _tokens(loaded: LoadedModel, end_of_turn: int | None) -> Iterator[int]:
    configured = loaded.model.generation_config.eos_token_id
    for token in (end_of_turn, loaded.tokenizer.eos_token_id, configured):
        if isinstance(token, list):
            yield from token
        elif token is not None:
            yield token


def _random(request: Request, prompt: Sequence[int]) -> random.Random:
    """Create the random generator of an answer from its seed and its prompt alone."""
    if request.seed is None:
        return random.Random()
    digest = blake2b(f"{request.seed} {request.sample}".encode(), digest_size=16)
    digest.update(np.asarray(prompt, dtype=np.int32).tobytes())
    return random.Random(digest.digest())


def _cut(text: str, stop: Sequence[str]) -> str:
    """Cut an answer before the first text that ends it."""
    ends = [text.find(end) for end in stop if end in text]
    return text[: min(ends)] if ends else text
