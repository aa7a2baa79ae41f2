"""Writes a corpus as a log: a folder with a file of JSON lines for each split, and its tools.

Each line is a conversation in OpenAI's chat format. It names its tools by their keys, which
``tools.json`` describes once for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from agent_gym_env.chat import functions_of
from agent_gym_env.corpus.corpus import Corpus
from agent_gym_env.corpus.logs.chat import chat_messages
from agent_gym_env.corpus.logs.reader import TOOLS_FILE
from agent_gym_env.corpus.tool_specs import FunctionTool, ToolSpec, openai_function
from agent_gym_env.storage.files import folder_written_whole


def write_log(corpus: Corpus, folder: Path, splits: Iterable[str] | None = None) -> None:
    """Write a corpus in chat format; `open_corpus` opens the folder again.

    Annotation is not written: spans and spoken forms of values have no place in the format.

    Args:
        corpus: corpus of any format.
        folder: new folder; it appears when it is complete.
        splits: names of the splits; ``None`` for all.

    Raises:
        StorageError: the folder exists, or cannot be written.
    """
    encode = msgspec.json.Encoder().encode
    tools: dict[str, FunctionTool] = {}
    with folder_written_whole(folder) as unfinished:
        for name in corpus.splits() if splits is None else splits:
            split = corpus.split(name)
            keys: dict[str, list[str]] = {}
            for spec in split.tools.values():
                tool = _function(spec)
                tools[tool.key] = tool
                keys.setdefault(spec.service, []).append(tool.key)
            with (unfinished / f"{name}.jsonl").open("wb") as file:
                for index in range(len(split)):
                    task = split.task(index)
                    record = {
                        "id": task.dialogue_id,
                        "date": task.date,
                        "tool_keys": [key for each in task.services for key in keys[each]],
                        "messages": chat_messages(task),
                    }
                    file.write(encode(record) + b"\n")
        (unfinished / TOOLS_FILE).write_bytes(encode(list(tools.values())))


def _function(spec: ToolSpec) -> FunctionTool:
    (function,) = functions_of([openai_function(spec)])
    key = spec.name if spec.parameters is None else spec.service
    return FunctionTool(key, spec.name, function["description"], function["parameters"])
