"""Statistics of a corpus: lengths, calls, results and events of its dialogues.

The statistics of a synthetic corpus can be compared with those of the Schema-Guided Dialogue
dataset: ``python -m agent_gym_env.synthesis.shape FOLDER``.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean

import msgspec

from agent_gym_env.corpus.sgd import Dialogue, SystemFrame, SystemTurn, UserTurn
from agent_gym_env.corpus.sgd_reader import SGDReader, Source, open_source
from agent_gym_env.values.equality import DONTCARE

_ACTS_WITH_CALL = {
    *("OFFER", "INFORM_COUNT OFFER", "NOTIFY_SUCCESS", "INFORM NOTIFY_SUCCESS"),
    *("NOTIFY_FAILURE REQ_MORE", "NOTIFY_FAILURE OFFER", "INFORM NOTIFY_FAILURE OFFER"),
}
_ACTS_WITHOUT_CALL = {
    *("REQUEST", "CONFIRM", "GOODBYE", "INFORM", "REQ_MORE", "OFFER_INTENT", "OFFER"),
}
_DETOURS = {"asks for another row", "changes a wish", "corrects a confirmation", "has a failure"}
STRAIGHT = "is a straight line"
EVENTS = (
    "asks for an attribute",
    "is proposed an intent",
    *sorted(_DETOURS),
    "gets a counter-offer",
    "has no preference",
    STRAIGHT,
)
"""Events of a dialogue. A straight line is a dialogue without a detour."""


class Shape(msgspec.Struct, frozen=True):
    """Statistics of dialogues. Shares are numbers in [0, 1].

    Attributes:
        dialogues: number of dialogues.
        turns: mean number of turns of both speakers.
        call_share: share of the system's turns that have a call.
        calls: mean number of calls in a dialogue.
        services: share of dialogues with one, two and more services.
        rows: share of calls with no, one, two to nine, and ten results.
        two_frame_share: share of the user's turns that are about two services.
        words: mean number of words in an utterance.
        distinct_share: number of different utterances divided by the number of all.
        odd_turns: number of system turns with a combination of acts that SGD does not have.
        events: share of dialogues by event, see `EVENTS`.
        seen: share of dialogues all, some and none of whose services are in train.
    """

    dialogues: int
    turns: float
    call_share: float
    calls: float
    services: tuple[float, float, float]
    rows: tuple[float, float, float, float]
    two_frame_share: float
    words: float
    distinct_share: float
    odd_turns: int
    events: dict[str, float]
    seen: tuple[float, float, float]


def measure(dialogues: Sequence[Dialogue], seen_services: Iterable[str] = ()) -> Shape:
    """Return the statistics of dialogues.

    Args:
        dialogues: dialogues, at least one.
        seen_services: services of train.
    """
    seen = frozenset(seen_services)
    system = [turn for dialogue in dialogues for turn in _system_turns(dialogue)]
    user = [turn for dialogue in dialogues for turn in _user_turns(dialogue)]
    rows = [len(it.service_results or ()) for turn in system for it in turn.frames if _calls(it)]
    utterances = [turn.utterance for dialogue in dialogues for turn in dialogue.turns]
    events = Counter(event for dialogue in dialogues for event in _events(dialogue))
    known = [sum(it in seen for it in dialogue.services) for dialogue in dialogues]
    count = len(dialogues)
    return Shape(
        dialogues=count,
        turns=mean(len(it.turns) for it in dialogues),
        call_share=len(rows) / len(system),
        calls=len(rows) / count,
        services=(
            mean(len(it.services) == 1 for it in dialogues),
            mean(len(it.services) == 2 for it in dialogues),
            mean(len(it.services) > 2 for it in dialogues),
        ),
        rows=(
            mean(it == 0 for it in rows),
            mean(it == 1 for it in rows),
            mean(2 <= it <= 9 for it in rows),
            mean(it >= 10 for it in rows),
        ),
        two_frame_share=mean(len(turn.frames) == 2 for turn in user),
        words=mean(len(it.split()) for it in utterances),
        distinct_share=len(set(utterances)) / len(utterances),
        odd_turns=sum(_is_odd(turn) for turn in system),
        events={event: events[event] / count for event in EVENTS},
        seen=(
            mean(n == len(it.services) for n, it in zip(known, dialogues, strict=True)),
            mean(0 < n < len(it.services) for n, it in zip(known, dialogues, strict=True)),
            mean(n == 0 for n in known),
        ),
    )


def table(shapes: dict[str, Shape]) -> str:
    """Return a Markdown table with a column for each shape, by name."""
    columns = [_cells(shape) for shape in shapes.values()]
    head = ["", *shapes]
    rows = [[label, *(column[label] for column in columns)] for label in columns[0]]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def read_dialogues(source: Source, split: str) -> Iterator[Dialogue]:
    """Read the dialogues of a split."""
    for shard in source.shards(split):
        yield from msgspec.json.decode(source.read(shard), type=list[Dialogue])


def _cells(shape: Shape) -> dict[str, str]:
    return {
        "dialogues": f"{shape.dialogues:,}",
        "turns per dialogue, mean": f"{shape.turns:.1f}",
        "system turns with a call": _percent(shape.call_share),
        "calls per dialogue, mean": f"{shape.calls:.2f}",
        "dialogues with 1 / 2 / 3+ services": _percents(shape.services),
        "dialogues with all / some / no services of train": _percents(shape.seen),
        "calls with 0 / 1 / 2-9 / 10 results": _percents(shape.rows),
        "user turns about two services": _percent(shape.two_frame_share),
        **{f"dialogue {event}": _percent(share) for event, share in shape.events.items()},
        "words per utterance, mean": f"{shape.words:.1f}",
        "different utterances": _percent(shape.distinct_share),
        "system turns with unusual acts": f"{shape.odd_turns:,}",
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percents(shares: Iterable[float]) -> str:
    return " / ".join(f"{100 * share:.1f}" for share in shares) + " %"


def _events(dialogue: Dialogue) -> set[str]:
    events = {event for turn in _system_turns(dialogue) for event in _system_events(turn)}
    values: dict[tuple[str, str], str] = {}
    for turn in _user_turns(dialogue):
        events |= set(_user_events(turn, values))
    return events if events & _DETOURS else {*events, STRAIGHT}


def _system_events(turn: SystemTurn) -> Iterator[str]:
    acts = {action.act for frame in turn.frames for action in frame.actions}
    if "OFFER_INTENT" in acts:
        yield "is proposed an intent"
    if "NOTIFY_FAILURE" in acts:
        yield "has a failure"
    if acts >= {"NOTIFY_FAILURE", "OFFER"}:
        yield "gets a counter-offer"


def _user_events(turn: UserTurn, values: dict[tuple[str, str], str]) -> Iterator[str]:
    """Yield the events of a turn, and update the last value of each slot in ``values``."""
    for frame in turn.frames:
        acts = {action.act for action in frame.actions}
        corrects = acts >= {"NEGATE", "INFORM"}
        if corrects:
            yield "corrects a confirmation"
        if "REQUEST" in acts:
            yield "asks for an attribute"
        if "REQUEST_ALTS" in acts:
            yield "asks for another row"
        for action in frame.actions:
            if action.act != "INFORM" or not action.canonical_values:
                continue
            key, value = (frame.service, action.slot), action.canonical_values[0]
            if value == DONTCARE:
                yield "has no preference"
            if not corrects and values.get(key, value) != value:
                yield "changes a wish"
            values[key] = value


def _is_odd(turn: SystemTurn) -> bool:
    frame = turn.frames[0]
    acts = " ".join(sorted({action.act for action in frame.actions}))
    return acts not in (_ACTS_WITH_CALL if _calls(frame) else _ACTS_WITHOUT_CALL)


def _calls(frame: SystemFrame) -> bool:
    return frame.service_call is not None


def _system_turns(dialogue: Dialogue) -> Iterator[SystemTurn]:
    return (turn for turn in dialogue.turns if isinstance(turn, SystemTurn))


def _user_turns(dialogue: Dialogue) -> Iterator[UserTurn]:
    return (turn for turn in dialogue.turns if isinstance(turn, UserTurn))


def main() -> None:
    """Print the shape of each split of a corpus in SGD's format."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("corpus", type=Path, help="folder or archive")
    with open_source(parser.parse_args().corpus) as source:
        has_train = "train" in source.splits()
        services = SGDReader(source).tools("train") if has_train else []
        seen = [service.service_name for service in services]
        shapes = {
            split: measure(list(read_dialogues(source, split)), seen) for split in source.splits()
        }
    print(table(shapes))


if __name__ == "__main__":
    main()
