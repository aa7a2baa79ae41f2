"""Chat templates with tools, for models whose own template leaves tools out.

``hermes`` is ChatML with tools as JSON and calls in Hermes' tags, as in Qwen2.5's template.
``compact`` writes only the names of tools and arguments and shortens results, for a model that is
trained on it. ``signatures`` is as short, and adds the date and the values that arguments may have.
All mark the assistant's words, which ``train sft`` learns.
"""

from __future__ import annotations

import copy
import json
import logging
from typing import Any

import jinja2

from agent_gym_env.chat import call_message, call_object, make_tool, result_message
from agent_gym_env.errors import DataError
from agent_gym_env.lm.bounded_template import render
from agent_gym_env.lm.prompt import RULES
from agent_gym_env.storage.files import as_utf8, read_file

OURS = ("hermes", "compact", "signatures")
"""Names of the templates of this module."""

END_OF_TURN = "<|im_end|>"
RESULT_CHARACTERS = 320
MARKS = (
    "<|im_start|>", END_OF_TURN, "<tool_call>", "</tool_call>", "<tool_response>",
    "</tool_response>", "<tools>", "</tools>",
)  # fmt: skip
"""The marks that these templates write; plain text if a tokenizer has no such token."""

_PROBE = "probe_tool_of_agent_gym"
_RESULT = "probe_result_of_agent_gym"
_CALL_ID = "agentgym0"
_CALL = call_message([call_object(_CALL_ID, _PROBE, {"place": "Bergen"})], "")
_TOOL = make_tool(
    _PROBE,
    "Find a place.",
    {
        "type": "object",
        "properties": {"place": {"type": "string", "description": "its name"}},
        "required": ["place"],
    },
)
_USER: dict[str, Any] = {"role": "user", "content": "a"}
_REFUSALS = (
    jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""Exceptions that a template raises for messages it does not support."""

_BEGIN = "{{- bos_token if bos_token and bos_token != '<|im_start|>' }}\n"
_USER_BRANCH = "{%- elif message.role == 'user' %}\n{{- '<|im_start|>user\n' }}"
_SYSTEM_BRANCH = (
    "{%- elif message.role in ('user', 'system') %}\n"
    "{{- '<|im_start|>' }}{{ message.role }}{{ '\\n' }}"
)

_log = logging.getLogger(__name__)


def knows_tools(tokenizer: Any) -> bool:
    """Return whether a tokenizer's chat template writes tools, calls and results."""
    with_call = [_USER, _CALL, {**result_message(_CALL_ID, _RESULT), "name": _PROBE}]
    offered = _written(tokenizer, [_USER], tools=[_TOOL])
    called = _written(tokenizer, with_call, tools=[_TOOL])
    return _PROBE in offered and _PROBE in called and _RESULT in called


def with_tools(tokenizer: Any, chat_template: str | None, name: str) -> Any:
    """Return a tokenizer whose chat template supports tools.

    Its own template is kept if it supports tools, and otherwise replaced by ``hermes`` with a
    logged warning.

    Args:
        tokenizer: tokenizer of transformers; it is not changed.
        chat_template: ``hermes``, ``compact``, ``signatures`` or a file with a template, to be used
            in any case; ``None`` for the choice described above.
        name: name of the model, for the warning.

    Raises:
        DataError: the file cannot be read.
    """
    if chat_template is not None:
        chosen = _with_template(tokenizer, read_template(chat_template, tokenizer))
        if not knows_tools(chosen):
            _log.warning(
                "the chat template %s shows a model no tools, calls or results: it cannot call any",
                chat_template,
            )
        return chosen
    if not tokenizer.chat_template or knows_tools(tokenizer):
        return tokenizer
    _log.warning(
        "the chat template of %s shows a model no tools, calls or results, so that agent-gym's own "
        "template `hermes` is used; choose another with chat_template (--chat-template): a file, "
        "`hermes`, `compact` or `signatures`",
        name,
    )
    return _with_template(tokenizer, read_template("hermes", tokenizer))


def read_template(chat_template: str, tokenizer: Any) -> str:
    """Read a chat template by its name or its file, with a tokenizer's end of a turn.

    Raises:
        DataError: the file cannot be read.
    """
    if chat_template not in OURS:
        try:
            content = as_utf8(read_file(chat_template), chat_template)
            return content.decode().replace("\r\n", "\n")
        except (DataError, UnicodeDecodeError) as error:
            found = error.problem if isinstance(error, DataError) else str(error)
            problem = f"no chat template can be read here; expected a file or one of {OURS}"
            raise DataError(f"{problem}: {found}", file=chat_template) from error
    text = _BEGIN + _written_template(chat_template)
    if END_OF_TURN in tokenizer.get_vocab() or not tokenizer.eos_token:
        return text
    return text.replace(END_OF_TURN, tokenizer.eos_token)


def _written_template(name: str) -> str:
    if name == "compact":
        return compact_template(RESULT_CHARACTERS).replace(_USER_BRANCH, _SYSTEM_BRANCH)
    return signatures_template(RESULT_CHARACTERS) if name == "signatures" else _HERMES


def signatures_template(result_characters: int) -> str:
    """Return the template ``signatures``: ``compact`` with the date and the values of arguments.

    A tool is written as its name and its arguments, required ones with a star, each with the values
    of its ``enum``. Of the default system message only the date is written; any other system
    message is written as it is.
    """
    rules = json.dumps(RULES.partition("{today}")[0])
    template = _SAID + _SIGNATURES.replace("DEFAULT_RULES", rules) + _MESSAGES
    return template.replace("RESULT_CHARACTERS", str(result_characters))


def compact_template(result_characters: int) -> str:
    """Return the template ``compact``: ChatML with Hermes calls, reduced to the minimum.

    It has no system message. A tool is written as its name and the names of its arguments, required
    ones with a star. A tool's result is written as its status, the number of its rows and its first
    characters. The arguments of a call are sorted, so that their order need not be learned.
    Messages of the assistant with ``"weight": 0`` are read but not learned.
    """
    template = _SAID + _NAMES + _MESSAGES
    return template.replace("RESULT_CHARACTERS", str(result_characters))


def _with_template(tokenizer: Any, template: str) -> Any:
    changed = copy.copy(tokenizer)
    changed.chat_template = template
    return changed


def _written(tokenizer: Any, messages: list[dict[str, Any]], tools: Any) -> str:
    try:
        return render(tokenizer, messages, tools)
    except _REFUSALS:
        return ""


_HERMES = """\
{%- macro called(call) %}
{%- set function = call.function or call %}
{{- '<tool_call>\\n{"name": ' }}{{ function.name | tojson }}{{ ', "arguments": ' }}
{{- function.arguments if function.arguments is string else function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endmacro %}
{%- macro said(message) %}
{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content or not loop.first }}{{ called(call) }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endmacro %}
{%- set has_system = messages and messages[0].role == 'system' %}
{%- if has_system or tools %}
{{- '<|im_start|>system\\n' }}{{ messages[0].content if has_system }}
{%- if tools %}
{{- '\\n\\n' if has_system }}
{{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\n' }}
{{- 'You are provided with function signatures within <tools></tools> XML tags:\\n<tools>' }}
{%- for tool in tools %}
{{- '\\n' }}{{ tool | tojson }}
{%- endfor %}
{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and ' }}
{{- 'arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": ' }}
{{- '<function-name>, "arguments": <args-json-object>}\\n</tool_call>' }}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if message.weight is defined and not message.weight %}
{{- said(message) }}
{%- else %}
{%- generation %}
{{- said(message) }}
{%- endgeneration %}
{%- endif %}
{{- '\\n' }}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
{{- '<|im_start|>user' }}
{%- endif %}
{{- '\\n<tool_response>\\n' }}{{ message.content }}{{ '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- elif message.role != 'system' or not loop.first %}
{{- '<|im_start|>' }}{{ message.role }}{{ '\\n' }}{{ message.content or '' }}{{ '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

_SAID = """\
{%- macro said(message) %}
{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\n{"name": ' }}{{ call.function.name | tojson }}{{ ', "arguments": ' }}
{{- call.function.arguments | tojson(sort_keys=true) }}{{ '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>' }}
{%- endmacro %}
"""

_NAMES = """\
{%- if tools %}
{{- '<|im_start|>tools\n' }}
{%- for tool in tools %}
{%- set function = tool.function %}
{{- function.name }}(
{%- for name in function.parameters.properties %}
{{- name }}{{ '*' if name in function.parameters.required }}{{ ', ' if not loop.last }}
{%- endfor %}
{{- ')' }}{{ '\n' if not loop.last }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- endif %}
"""

_SIGNATURES = """\
{%- if messages and messages[0].role == 'system' %}
{%- set rules = messages[0].content %}
{%- if rules.startswith(DEFAULT_RULES) %}
{%- set rules = 'Today is ' + rules[DEFAULT_RULES | length:].split('.')[0] + '.' %}
{%- endif %}
{%- endif %}
{%- if rules or tools %}
{{- '<|im_start|>system\\n' }}{{ rules }}
{%- for tool in tools or [] %}
{%- set function = tool.function %}
{{- '\\n' if rules or not loop.first }}{{ function.name }}(
{%- for name, schema in function.parameters.properties.items() %}
{{- name }}{{ '*' if name in function.parameters.required }}
{%- if schema.enum %}
{{- ': ' }}{{ schema.enum | reject('equalto', 'dontcare') | join('|') }}
{%- endif %}
{{- ', ' if not loop.last }}
{%- endfor %}
{{- ')' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
"""

_MESSAGES = """\
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{{- '<|im_start|>assistant\n' }}
{%- if message.weight is defined and not message.weight %}
{{- said(message) }}
{%- else %}
{%- generation %}
{{- said(message) }}
{%- endgeneration %}
{%- endif %}
{{- '\n' }}
{%- elif message.role == 'tool' %}
{%- set parts = message.content.split(',"results":') %}
{{- '<|im_start|>tool\n' }}
{%- if parts | length == 2 %}
{{- message.content.count('},{') + 1 }} {{ parts[0].split(',')[-1] }}{{ ' ' }}
{%- endif %}
{{- parts[-1][:RESULT_CHARACTERS] }}{{ '<|im_end|>\n' }}
{%- elif message.role == 'user' %}
{{- '<|im_start|>user\n' }}{{ message.content }}{{ '<|im_end|>\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- endif %}
"""
