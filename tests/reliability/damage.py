"""Ways in which a file of a corpus is damaged: by disks, by editors, by hand."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

_ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 7, 2**70, 1e308, "", " ", "\ud800", "\0", "Teas_1", "USER", "SYSTEM", [], {},
    [[]], [None], {"a": 1}, "x" * 1000, [1, 2], "dontcare", "2019-03-01", "é\u202e",
)  # fmt: skip

_ODD_BYTES = tuple(bytes([code]) for code in (0, 9, 10, 34, 44, 58, 91, 92, 93, 123, 125, 239, 255))


def damaged(content: bytes, random_: random.Random) -> bytes:
    """Damage a JSON file in one of many ways."""
    kind = random_.choice((_flip, _flip, _splice, _cut, _encode, _repeat, *[changed] * 6))
    return kind(content, random_)


def damaged_bytes(content: bytes, random_: random.Random) -> bytes:
    """Damage a file of any format."""
    return random_.choice((_flip, _flip, _flip, _splice, _splice, _cut, _repeat))(content, random_)


def damaged_lines(content: bytes, random_: random.Random) -> bytes:
    """Damage a file of JSON lines: its bytes, or what one of its lines says."""
    if random_.random() < 0.3:
        return damaged_bytes(content, random_)
    lines = content.splitlines(keepends=True)
    place = random_.randrange(len(lines))
    lines[place] = damaged(lines[place].rstrip(b"\n"), random_) + b"\n"
    return b"".join(lines)


def changed(content: bytes, random_: random.Random) -> bytes:
    """Change what the JSON says, one to three times, and keep it JSON."""
    root = json.loads(content)
    for _ in range(random_.choice((1, 1, 2, 3))):
        holders = list(_holders(root))
        if holders:
            _change_one(random_.choice(holders), random_)
    return json.dumps(root).encode()


def _flip(content: bytes, random_: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random_.choice((1, 1, 1, 3, 30))):
        changed[random_.randrange(len(changed))] ^= 1 << random_.randrange(8)
    return bytes(changed)


def _splice(content: bytes, random_: random.Random) -> bytes:
    place, size = random_.randrange(len(content)), random_.choice((0, 1, 1, 10, 100))
    inserted = b"".join(random_.choices(_ODD_BYTES, k=random_.randrange(4)))
    return content[:place] + inserted + content[place + size :]


def _cut(content: bytes, random_: random.Random) -> bytes:
    return content[: random_.randrange(len(content))]


def _repeat(content: bytes, random_: random.Random) -> bytes:
    place = random_.randrange(len(content))
    return random_.choice((content + content, content[place:] + content[:place], content[::-1]))


def _encode(content: bytes, random_: random.Random) -> bytes:
    text = content.decode()
    forms: tuple[Callable[[], bytes], ...] = (
        lambda: b"\xef\xbb\xbf" + content,
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-32"),
        lambda: text.replace("a", "\xe9").encode("latin-1", "replace"),
        lambda: text.replace('"', "'").encode(),
        lambda: content.replace(b",", b",\n#\n", 1),
        lambda: b"[" * 100_000 + content,
        lambda: content.replace(b'":"', b'":' + b"[" * 50_000 + b'"', 1),
        lambda: content.replace(b'":"', b'":NaN,"', 1),
        lambda: content.replace(b'":"', b'":' + b"9" * 6000 + b',"', 1),
    )
    return random_.choice(forms)()


def _holders(value: Any) -> Iterator[Any]:
    """Yield every list and object that holds something."""
    if isinstance(value, (list, dict)) and value:
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from _holders(child)


def _change_one(holder: Any, random_: random.Random) -> None:
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key, other = random_.choice(keys), random_.choice(keys)
    draw = random_.random()
    if draw < 0.4:
        holder[key] = random_.choice(_ODD_VALUES)
    elif draw < 0.6:
        del holder[key]
    elif draw < 0.8:
        holder[key], holder[other] = holder[other], holder[key]
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[other]))
    else:
        holder[random_.choice(("frames", "service", "extra", ""))] = copy.deepcopy(holder[other])
