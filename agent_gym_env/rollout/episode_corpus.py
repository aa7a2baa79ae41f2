"""Reads recorded episodes as a corpus: what a policy did becomes the recording that is replayed.

So a good policy's play can teach, or be compared with, as an assistant's log can.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from agent_gym_env.chat import read_tools
from agent_gym_env.corpus.logs.chat import read_tools as read_functions
from agent_gym_env.corpus.logs.conversation import Conversation
from agent_gym_env.corpus.logs.reader import LogTools, keys_of, with_keys
from agent_gym_env.corpus.reader import Place
from agent_gym_env.corpus.task import RecordedCall, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import DataError
from agent_gym_env.rollout.episode import Episode, TurnRecord
from agent_gym_env.rollout.journal.reading import read_episodes
from agent_gym_env.types import ToolStatus


class EpisodeReader:
    """Reads a journal, or a file of episodes; see `agent_gym_env.corpus.reader.CorpusReader`.

    Episodes that failed or did not end are left out. Of several episodes of one dialogue, the
    second has the id ``ID~2``, and so on.

    Args:
        path: path of a file of episodes, or of the folder of a journal.

    Raises:
        DataError: there is no such file or folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name = os.fspath(path)
        if not os.path.exists(path):
            raise DataError("expected episodes, found no such file or folder", file=self.name)

    def splits(self) -> Sequence[str]:
        """Return the names of the episodes' splits."""
        return tuple(self._tools.by_split())

    def fingerprint(self) -> str:
        """Return a text that changes with the names, sizes and times of the files."""
        path = Path(self.name)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        states = [(file.name, file.stat()) for file in files if file.suffix == ".jsonl"]
        return str([(name, state.st_size, state.st_mtime_ns) for name, state in states])

    def tools(self, split: str) -> Sequence[FunctionTool]:
        """Return the tools that are on offer in a split."""
        return self._tools.by_split().get(split, ())

    def dialogues(self, split: str) -> Iterator[Task]:
        """Read the dialogues of a split one by one."""
        keys = keys_of(self._tools.tools())
        for each in self._conversations():
            if each.split == split:
                yield with_keys(each, keys, ())

    @functools.cached_property
    def _tools(self) -> LogTools:
        tools = LogTools()
        for each in self._conversations():
            tools.add(each)
        return tools

    def _conversations(self) -> Iterator[Conversation]:
        counts = Counter[tuple[str, str]]()
        for episode in read_episodes(self.name):
            if episode.terminated and episode.error is None:
                key = (episode.split, episode.dialogue_id)
                counts[key] += 1
                suffix = f"~{counts[key]}" if counts[key] > 1 else ""
                yield _conversation(episode, f"{episode.dialogue_id}{suffix}", self.name)


def _conversation(episode: Episode, dialogue_id: str, file: str) -> Conversation:
    place = Place(file, dialogue_id=dialogue_id)
    tools = _functions(episode.tools)
    offered = {tool.name for tool in tools}
    turns = tuple(_turn(turn, offered) for turn in episode.turns)
    task = Task(dialogue_id, (), turns, episode.date, episode.system)
    return Conversation(task, tools, None, episode.split, (), place)


@functools.lru_cache(maxsize=256)
def _functions(tools: str) -> tuple[FunctionTool, ...]:
    listed = read_functions({"tools": read_tools(tools)}, Place("tools"), lambda _: None)
    return listed or ()


class _Result(msgspec.Struct):
    status: ToolStatus
    results: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


_decode_results = msgspec.json.Decoder(list[_Result]).decode


def _turn(turn: TurnRecord, offered: set[str]) -> Turn:
    """Return a turn with its calls; a call of a tool that was not on offer is left out."""
    calls = []
    rounds = [step for step in turn.steps if step.action.tool_calls]
    for number, step in enumerate(rounds):
        results = _decode_results(step.tool_result)
        for call, result in zip(step.action.tool_calls, results, strict=True):
            text = msgspec.json.encode(result.error) if result.error is not None else result.results
            if call.name in offered:
                recorded = RecordedCall(
                    call.name, call.arguments, result.status, bytes(text).decode(), round=number
                )
                calls.append(recorded)
    return Turn(
        user=turn.user,
        text=turn.reply,
        service=calls[0].name if calls else "",
        call=calls[0] if calls else None,
        more_calls=tuple(calls[1:]),
    )
