"""The interface between a corpus in any format and the compiler: readers of dialogues."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from agent_gym_env.corpus.sgd import Dialogue, Intent, Service, Slot
from agent_gym_env.corpus.task import Task
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.suggestions import explained

_T = TypeVar("_T")
_encode = msgspec.msgpack.Encoder().encode

OnProgress = Callable[[int, int], None]
"""Called with the number of parts that have been read, and the number of all parts."""


class CorpusReader(Protocol):
    """Reads the dialogues of a corpus, whatever their format.

    Write a class with these members to play dialogues of your own. An instance is a ``corpus``
    wherever one is taken: `SGDEnv(corpus=MyReader("calls.json"))`, `open_corpus`, `check_corpus`.
    A reader yields the structs of `agent_gym_env.corpus.sgd`, in which user and system alternate:

    - A `Service` has slots, and intents that take them as arguments. Each intent is a tool of the
      agent, with the name ``Service-Intent``.
    - A `Dialogue` has an id, the names of its services, its turns and, if known, its date.
    - A `UserTurn` has the user's words. Its frames may be empty; where the state of a frame names
      a slot's value in the user's words, rewards accept these words for the argument, too.
    - A `SystemTurn` has the reply and one frame or more; a frame names its service. At most one
      frame of a turn has a call, with ``service_call`` and ``service_results``. A dialogue act
      ``NOTIFY_FAILURE`` says that the call failed. Spans in ``slots`` mark the values that the
      reply says, which the reward ``balanced`` looks for.

    Logs with tools that are functions need none of this: their tools are `FunctionTool` structs,
    and their dialogues are `agent_gym_env.corpus.task.Task` structs, in which a turn has any number
    of calls with any JSON values.

    Each split is compiled when it is first opened, and kept in the cache folder. It is compiled
    again when the fingerprint changes, or the file that defines the reader's class.

    Attributes:
        name: name of the corpus in messages, for example its path.

    Examples:
        >>> class Shop:
        ...     name = "shop"
        ...
        ...     def splits(self):
        ...         return ["train"]
        ...
        ...     def fingerprint(self):
        ...         return "version 1"
        ...
        ...     def tools(self, split):
        ...         find = Intent("Find", "Find a book", False, ["title"], {}, ["title", "price"])
        ...         slots = [Slot(name, name, False, []) for name in ("title", "price")]
        ...         return [Service("Books", "A shop for books", slots, [find])]
        ...
        ...     def dialogues(self, split):
        ...         call = ServiceCall("Find", {"title": "Emma"})
        ...         row = {"title": "Emma", "price": "9"}
        ...         frame = SystemFrame("Books", [], [], call, [row])
        ...         question = UserTurn("Do you have Emma?", [])
        ...         yield Dialogue("1", ["Books"], [question, SystemTurn("Yes, for 9.", [frame])])
        >>> open_corpus(Shop()).split("train").tools["Books-Find"].required
        ('title',)
    """

    @property
    def name(self) -> str:
        """Name of the corpus in messages, for example its path."""

    def splits(self) -> Sequence[str]:
        """Return the names of the splits that the corpus has, usually of train, dev and test."""

    def fingerprint(self) -> str:
        """Return a text that changes whenever the dialogues or tools do.

        It is asked for whenever the corpus is opened, so it should not need to read everything: the
        size and time of a file will do, or a version.
        """

    def tools(self, split: str) -> Sequence[Service | FunctionTool]:
        """Return the services of a split, whose intents are its tools, or the tools of a log."""

    def dialogues(self, split: str) -> Iterable[Dialogue | Task]:
        """Yield the dialogues of a split, always in the same order."""


class Place(NamedTuple):
    """The place of something that was read, for messages.

    Attributes:
        file: name of the file or corpus.
        pointer: JSON pointer inside it.
        dialogue_id: id of the dialogue, if known.
    """

    file: str
    pointer: str = ""
    dialogue_id: str | None = None

    def inside(self, path: str) -> Place:
        """Return a place below this one, from a path such as ``.turns[3].frames``."""
        pointer = re.sub(r"\.(\w+)|\[([\d.]+)\]", lambda part: f"/{part[1] or part[2]}", path)
        return self._replace(pointer=self.pointer + pointer)

    def error(self, problem: str) -> DataError:
        """Return the error for a problem at this place."""
        turn = re.match(r"(?:/\d+)?/turns/(\d+)", self.pointer)
        return DataError(
            problem,
            file=self.file,
            dialogue_id=self.dialogue_id,
            turn=None if turn is None else int(turn[1]),
            pointer=self.pointer or None,
        )

    def of_dialogue(self, problem: str, turn: int | None = None) -> DataError:
        """Return the error for a problem of the dialogue here, or of one of its turns."""
        return self.inside("" if turn is None else f".turns[{turn}]").error(problem)


class Located(NamedTuple):
    """A dialogue and the place where it was read."""

    dialogue: Dialogue
    at: Place

    def error(self, problem: str, turn: int | None = None) -> DataError:
        """Return the error for a problem of the dialogue or of one of its turns."""
        return self.at.of_dialogue(problem, turn)


class LocatedTask(NamedTuple):
    """A dialogue of a log, in compiled form, and the place where it was read."""

    task: Task
    at: Place


class SplitReading(NamedTuple):
    """A split that is being read.

    Attributes:
        services: services of the split, checked.
        functions: tools of the split that are functions, checked.
        train_services: names of the services, or keys of the tools, of the split train; ``None``
            without such a split.
        dialogues: dialogues, read one by one.
        fingerprint: returns the SHA-256 of all that was read, in hexadecimal; call it when the
            dialogues have been read.
        at: place of the schema.
    """

    services: Sequence[Service]
    functions: Sequence[FunctionTool]
    train_services: tuple[str, ...] | None
    dialogues: Iterator[Located | LocatedTask]
    fingerprint: Callable[[], str]
    at: Place


def read_split(
    reader: CorpusReader, split: str, on_progress: OnProgress | None = None
) -> SplitReading:
    """Begin to read a split through any reader, and check what the reader returns.

    Args:
        reader: the reader.
        split: name of the split.
        on_progress: called when all has been read.

    Raises:
        DataError: the services are not in order.
    """
    at = Place(reader.name)
    services, functions = _checked_tools(reader, split, at)
    digest = hashlib.sha256(_encode(services))
    if functions:
        digest.update(_encode(functions))

    def dialogues() -> Iterator[Located | LocatedTask]:
        for each in _read_dialogues(reader, split):
            here = at._replace(dialogue_id=getattr(each, "dialogue_id", None))
            located: Located | LocatedTask
            if isinstance(each, Task):
                located = LocatedTask(_checked(each, Task, here), here)
            else:
                located = Located(_checked(each, Dialogue, here), here)
            digest.update(_encode(located[0]))
            yield located
        if on_progress is not None:
            on_progress(1, 1)

    names = None
    if "train" in reader.splits():
        trained, more = _checked_tools(reader, "train", at)
        names = (*(each.service_name for each in trained), *(each.key for each in more))
    return SplitReading(services, functions, names, dialogues(), digest.hexdigest, at)


def _checked_tools(
    reader: CorpusReader, split: str, at: Place
) -> tuple[list[Service], list[FunctionTool]]:
    tools = list(reader.tools(split))
    functions = [each for each in tools if isinstance(each, FunctionTool)]
    services = _checked([e for e in tools if not isinstance(e, FunctionTool)], list[Service], at)
    check_services(services, at)
    checked = _checked(functions, list[FunctionTool], at)
    names = Counter([*(each.service_name for each in services), *(each.key for each in checked)])
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise at.error(f"more than one service or tool has the key {twice[0]!r}")
    return services, checked


def _read_dialogues(reader: CorpusReader, split: str) -> Iterator[Dialogue | Task]:
    """Yield the dialogues of a reader; an exception of its code names the reader and the split."""
    try:
        yield from reader.dialogues(split)
    except AgentGymError:
        raise
    except Exception as error:
        raise DataError(
            f"the reader {type(reader).__name__} failed to read the split {split!r}: "
            f"{type(error).__name__}: {error}",
            file=reader.name,
        ) from error


def _checked(value: Any, kind: type[_T], at: Place) -> _T:
    """Compare the types of all fields with those that a struct declares."""
    try:
        return msgspec.convert(msgspec.to_builtins(value), kind)
    except msgspec.ValidationError as error:
        problem, path = explained(error, kind)
        raise at.inside(path).error(problem) from error
    except TypeError as error:
        raise at.error(f"expected a {kind}, found a {type(value).__name__}: {error}") from error


def check_services(services: Sequence[Service], at: Place) -> None:
    """Check that names are unique and not empty, and that intents take slots of their service.

    Raises:
        DataError: they are not.
    """
    for place, service in enumerate(services):
        slots = {slot.name for slot in service.slots}
        for number, intent in enumerate(service.intents):
            unknown = {*intent.required_slots, *intent.optional_slots} - slots
            if unknown:
                raise at.inside(f"[{place}].intents[{number}]").error(
                    f"intent {intent.name!r} takes {sorted(unknown)}, but "
                    f"{service.service_name!r} has no such slots"
                )
        _refuse_repeated(at.inside(f"[{place}].intents"), "intent", service.intents)
        _refuse_repeated(at.inside(f"[{place}].slots"), "slot", service.slots)
    _refuse_repeated(at, "service", services)
    _refuse_empty_names(at, services)


def _refuse_repeated(at: Place, what: str, things: Sequence[Service | Intent | Slot]) -> None:
    names = Counter(thing.service_name if isinstance(thing, Service) else thing.name
                    for thing in things)  # fmt: skip
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise at.error(f"more than one {what} is named {twice[0]!r}")


def _refuse_empty_names(at: Place, services: Sequence[Service]) -> None:
    for place, service in enumerate(services):
        if not service.service_name.strip():
            raise at.inside(f"[{place}].service_name").error("a service needs a name")
        for number, intent in enumerate(service.intents):
            if not intent.name.strip():
                raise at.inside(f"[{place}].intents[{number}].name").error("an intent needs a name")
