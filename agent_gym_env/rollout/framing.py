"""A line of a journal: a record as JSON, with its place in the run and a checksum in front.

    {"crc":"5ab1f0c3","job":17,"dialogue_id":"1_00017",…}

The record's own fields follow those of `Entry`, so whoever reads JSON lines reads records, and may
leave the rest alone. The checksum is the CRC-32, in hexadecimal, of all that follows its comma, up
to the end of the line.
"""

from __future__ import annotations

import re
import zlib

import msgspec

from agent_gym_env.rollout.spending import Spending

_HEAD = re.compile(rb'\{"crc":"([0-9a-f]{8})",')


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a line says beside its record.

    Attributes:
        job: number of the job in the run.
        part: number of the record among those of its job.
        parts: how many records the job has.
        candidates: the mean reward of each episode that was played, of which this is the best.
        spending: on the whole job, in its first part; ``None`` where no model was asked.
        error_class: why the job failed.
        failed_branches: how many of a job that has not failed did.
    """

    job: int
    part: int = 0
    parts: int = 1
    candidates: tuple[float | None, ...] = ()
    spending: Spending | None = None
    error_class: str | None = None
    failed_branches: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def frame(entry: Entry, record: bytes) -> bytes:
    """Write a line.

    Args:
        entry: its place.
        record: a JSON object with at least one field, none of them of `Entry`.
    """
    rest = b"%b,%b" % (_encode(entry)[1:-1], record[1:])
    return b'{"crc":"%08x",%b\n' % (zlib.crc32(rest), rest)


def is_framed(line: bytes) -> bool:
    """Whether a line begins as one of a journal does."""
    return _HEAD.match(line) is not None


def is_whole(line: bytes) -> bool:
    """Whether a line, with or without its end, has the checksum that it says."""
    head = _HEAD.match(line)
    if head is None:
        return False
    # A view, not a copy: all lines of a journal pass here.
    rest = memoryview(line)[head.end() : len(line) - line.endswith(b"\n")]
    return zlib.crc32(rest) == int(head[1], 16)


def entry_of(line: bytes) -> Entry:
    """Read a line's place.

    Raises:
        msgspec.DecodeError: it is no line of a journal.
    """
    return _decode(line)
