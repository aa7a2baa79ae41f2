r"""The words of a text: the matches of ``\w+`` in its lower case."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")


def _ascii_table() -> bytes:
    """Return the lower case of each ASCII character of a word, a space for every other byte."""
    table = bytearray(b" " * 256)
    for code in range(128):
        if _WORD.match(chr(code)):
            table[code] = ord(chr(code).lower())
    return bytes(table)


_TABLE = _ascii_table()


def words(text: str) -> list[bytes]:
    """List the words of a text in order, each in UTF-8.

    ASCII takes one pass in C instead of a regular expression: every step calls this.
    """
    if text.isascii():
        return text.encode().translate(_TABLE).split()
    return [word.encode() for word in _WORD.findall(text.lower())]
