"""Replaces personal data and secrets in conversations by placeholders, before anything is written.

Texts are searched by patterns in four passes: keys and tokens, ``password = …`` pairs, what has an
``@``, and numbers. A pass searches a text only if a substring search has found its sign there, and
a whole conversation is spared if its JSON has no such sign. All patterns take time that is linear
in the length of the text.

The same value becomes the same placeholder in a whole import, in the form of its type: an e-mail
address becomes ``user1@redacted.example`` wherever it is. So arguments still equal the words that
they are taken from. The order in which values are found gives their numbers; only keyed hashes of
the values are kept.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from agent_gym_env.corpus.logs.conversation import Conversation, bad
from agent_gym_env.corpus.task import RecordedCall, SpokenValue, Task, Turn
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import AgentGymError, DataError
from agent_gym_env.storage.files import as_utf8, read_file

_encode = msgspec.json.Encoder().encode
_decode: Callable[[str | bytes], Any] = msgspec.json.Decoder().decode

_MOST_NUMBERED = 500_000
"""Number of values of a kind that are numbered; further ones get their hash as the number."""

_MAX_DEPTH = 8
"""Number of times that JSON in a text inside of JSON is read; further in it is a plain text."""

_SHORTEST_PAIRED = 3
_SHORTEST_FOUND = 5
"""Shortest text that the patterns find anything in."""
_SHORTEST_KNOWN = 5
"""Shortest secret or user id that is also replaced where nothing but its text shows it."""


def _text_placeholder(kind: str, number: int) -> str:
    return f"<{kind.upper()}_{number}>"


def _card_number(number: int) -> str:
    digits = f"9999{number % 10**11:011}"
    return digits + str(-_luhn_sum(digits + "0") % 10)


def _iban(number: int) -> str:
    body = f"REDACTED{number % 10**10:010}"
    return f"ZZ{98 - _mod_97('ZZ00' + body):02}{body}"


_FORMS: dict[str, Callable[[int], str]] = {
    "email": lambda number: f"user{number}@redacted.example",
    "phone": lambda number: f"555{number % 10**7:07}",
    "card_number": _card_number,
    "iban": _iban,
    "social_security_number": lambda number: f"666-{number // 10**4 % 100:02}-{number % 10**4:04}",
    "ip_address": lambda number: str(ipaddress.IPv4Address((240 << 24) + number % 2**24)),
    "ipv6_address": lambda number: str(ipaddress.IPv6Address((0x20010DB8 << 96) + number)),
    "url_credentials": lambda number: f"user{number}:redacted@",
}
"""Placeholders in the form of their kind: of ranges that are reserved or were never assigned."""

KINDS = (
    "private_key", "jwt", "aws_key", "github_token", "gitlab_token", "slack_token", "google_key",
    "api_key", "authorization", "password", "url_credentials", "email", "iban", "card_number",
    "social_security_number", "phone", "ip_address", "ipv6_address", "name", "user_id", "plug_in",
)  # fmt: skip
"""Kinds of what is found and replaced."""


class _Numbers:
    """Numbers of values, the same for the same value; it keeps hashes with a key of this import."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        self._known: dict[str, dict[bytes, int]] = {}

    def number(self, kind: str, value: str) -> int:
        data = value.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
        known = self._known.setdefault(kind, {})
        found = known.get(digest)
        if found is None:
            if len(known) >= _MOST_NUMBERED:
                return _MOST_NUMBERED + int.from_bytes(digest, "big")
            found = known[digest] = len(known) + 1
        return found


class RedactionCount(msgspec.Struct, frozen=True):
    """Number of places of one kind that were replaced.

    Attributes:
        kind: one of `KINDS`.
        places: number of places.
    """

    kind: str
    places: int


class Redactor:
    """Replaces personal data and secrets in texts, JSON values and conversations.

    Args:
        names: names of people and the like, each of one word or several. They are found in any
            case, as whole words.
        plug_in: function that replaces more in a text and returns it. It sees each text after the
            patterns, which takes time: every text is passed to it.

    Examples:
        >>> redactor = Redactor(names=["Ada Lovelace"])
        >>> redactor.text("I am Ada Lovelace, ada@example.org, card 4111 1111 1111 1111.")
        'I am <NAME_1>, user1@redacted.example, card 9999000000000012.'
        >>> redactor.value({"email": "ADA@example.org"})
        {'email': 'user1@redacted.example'}
    """

    def __init__(
        self, names: Iterable[str] = (), plug_in: Callable[[str], str] | None = None
    ) -> None:
        self._numbers = _Numbers()
        self._places: Counter[str] = Counter()
        self._names = _Names(names)
        self._plug_in = plug_in
        self._known: dict[str, str] = {}
        self._arguments = frozenset[str]()
        self._last_tools: tuple[tuple[FunctionTool, ...], frozenset[str]] = ((), self._arguments)
        self._shortest = 0 if plug_in is not None or self._names else _SHORTEST_FOUND

    def counts(self) -> list[RedactionCount]:
        """Return how much of each kind was replaced so far, in the order of `KINDS`."""
        return [RedactionCount(kind, self._places[kind]) for kind in KINDS if self._places[kind]]

    def text(self, text: str) -> str:
        """Return a text with placeholders; JSON in it stays JSON."""
        return self._text(text, self._due(_encode(text)))

    def value(self, value: Any) -> Any:
        """Return a JSON value with placeholders, in keys too."""
        return self._value(value, self._due(_encode(value)))

    def tool(self, tool: FunctionTool) -> FunctionTool:
        """Return a tool with placeholders in its description and schema."""
        due = self._due(_encode(tool))
        if not due:
            return tool
        return msgspec.structs.replace(
            tool,
            description=self._text(tool.description, due),
            parameters=self._value(tool.parameters, due),
        )

    def conversation(self, conversation: Conversation) -> Conversation:
        """Return a conversation with placeholders in all its texts, its tools excepted.

        Secrets that only their context shows, such as a password, and the id of the user are
        replaced wherever else the conversation has them.

        Raises:
            BadConversationError: a value is nested too deep.
            AgentGymError: the plug-in fails.
        """
        try:
            return self._conversation(conversation)
        except RecursionError:
            pass
        problem = "a value is nested too deep to look for personal data"
        raise bad("too_deep", problem, conversation.at)

    def _conversation(self, conversation: Conversation) -> Conversation:
        self._known = {}
        self._arguments = self._names_of_arguments(conversation.tools or ())
        task, user = conversation.task, conversation.user
        encoded = _encode(task)
        due = self._due(encoded)
        if user is not None:
            placeholder = self._placeholder("user_id", user)
            if len(user) >= _SHORTEST_KNOWN and _encode(user)[1:-1] in encoded:
                self._known[user] = placeholder
                due = (*due, _REPLACE_KNOWN)
            user = placeholder
        elif not due:
            return conversation
        if due:
            known = len(self._known)
            task = self._task(task, due)
            if len(self._known) > known:  # texts before a password may have it, too
                task = self._task(task, (_REPLACE_KNOWN,))
        at = conversation.at._replace(dialogue_id=task.dialogue_id)
        return conversation._replace(task=task, user=user, at=at)

    def _names_of_arguments(self, tools: tuple[FunctionTool, ...]) -> frozenset[str]:
        """Return the names of properties in the schemas of tools; the last answer is kept."""
        if self._last_tools[0] is not tools:
            names = frozenset(name for tool in tools for name in _property_names(tool.parameters))
            self._last_tools = tools, names
        return self._last_tools[1]

    def _task(self, task: Task, due: _Due) -> Task:
        system = None if task.system is None else self._text(task.system, due)
        turns = tuple(self._turn(turn, due) for turn in task.turns)
        dialogue_id = self._text(task.dialogue_id, due)
        return Task(dialogue_id, task.services, turns, task.date, system)

    def _turn(self, turn: Turn, due: _Due) -> Turn:
        calls = [self._call(call, due) for call in turn.calls]
        return Turn(
            user=self._text(turn.user, due),
            text=self._text(turn.text, due),
            service=turn.service,
            call=calls[0] if calls else None,
            values=tuple(
                SpokenValue(
                    each.slot,
                    self._text(each.text, due),
                    tuple(self._text(form, due) for form in each.forms),
                )
                for each in turn.values
            ),
            more_calls=tuple(calls[1:]),
        )

    def _call(self, call: RecordedCall, due: _Due) -> RecordedCall:
        results, arguments = call.results, call.arguments
        if found := self._narrowed(due, results):
            results = self._json(results, found)
        if found := self._narrowed(due, _encode(arguments).decode()):
            arguments = self._value(arguments, found)
        forms = {
            name: tuple(self._text(form, due) for form in forms)
            for name, forms in call.forms.items()
        }
        return msgspec.structs.replace(call, arguments=arguments, results=results, forms=forms)

    def _json(self, encoded: str, due: _Due) -> str:
        """Return the JSON of a value with placeholders.

        Where only numbers are looked for, and no text has an escape, the texts lie between
        quotation marks. So those with a number are found without reading the others. That does not
        find the key of a list's items, where a key may tell what they are.
        """
        is_told = "[" in encoded and _TELLING.search(encoded)
        if due != _NUMBERS_ONLY or "\\" in encoded or is_told:
            return _encode(self._value(_decode(encoded), due)).decode()
        parts, end, marks = [], 0, 0
        for found in _NUMBER.finditer(encoded):
            if found.start() < end:
                continue
            start = encoded.rfind('"', end, found.start()) + 1 or end
            marks += encoded.count('"', end, start)
            parts.append(encoded[end:start])
            end = encoded.find('"', start)
            end = len(encoded) if end < 0 else end
            part = encoded[start:end]
            if marks % 2:
                parts.append(self._value(part, due, 0, _key_before(encoded, start - 1)))
            else:
                key = _key_before(encoded, start + len(part) - len(part.lstrip(" :")))
                parts.append(_WHOLE_NUMBER.sub(partial(self._whole_number, due=due, key=key), part))
        return "".join([*parts, encoded[end:]])

    def _whole_number(self, found: re.Match[str], due: _Due, key: str) -> str:
        return str(self._number(int(found[0]), due, key))

    # Texts and values.

    def _due(self, encoded: bytes) -> _Due:
        """Return the passes whose signs the JSON of a value has; no pass for most values."""
        return self._narrowed(_STEPS, encoded.decode())

    def _narrowed(self, due: _Due, encoded: str) -> _Due:
        if "\\u" in encoded:  # a character that JSON inside of a text has escaped
            return due
        return tuple([step for step in due if step.sign(self, encoded)])

    def _text(self, text: str, due: _Due, depth: int = 0) -> str:
        if len(text) < self._shortest:
            return text
        for step in due:
            if step.sign(self, text):
                break
        else:
            if "\\u" not in text or not due:
                return text
        return self._suspect_text(text, due, depth)

    def _suspect_text(self, text: str, due: _Due, depth: int) -> str:
        if text[:1] in ("{", "[") and depth < _MAX_DEPTH:
            try:
                value = _decode(text)
            except (msgspec.DecodeError, RecursionError):
                value = None  # a text that only begins like JSON
            if value is not None:
                found = self._value(value, due, depth + 1)
                return text if found == value else str(_encode(found), "utf-8")
        if "\\u00" in text:
            plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
            if plain != text and (changed := self._text(plain, due, depth)) != plain:
                return changed
        for step in due:
            if step.sign(self, text):
                text = step.replaced(self, text)
        return text

    def _value(self, value: Any, due: _Due, depth: int = 0, key: str = "") -> Any:
        if isinstance(value, str):
            if key and due and due[0] is not _REPLACE_KNOWN and (told := _told_by(key)):
                return self._of_key(told, value) or self._text(value, due, depth)
            return self._text(value, due, depth)
        if isinstance(value, dict):
            # A user id or password may be a common word, such as the name of an argument.
            of_names = tuple(step for step in due if step is not _REPLACE_KNOWN)
            return {
                self._text(name, of_names if name in self._arguments else due, depth): self._value(
                    each, due, depth, name
                )
                for name, each in value.items()
            }
        if isinstance(value, list):
            return [self._value(each, due, depth, key) for each in value]
        if isinstance(value, int) and not isinstance(value, bool) and due:
            return self._number(value, due, key)
        return value

    def _number(self, value: int, due: _Due, key: str) -> int:
        if due[0] is _REPLACE_KNOWN:
            return value
        text, told = str(value), _told_by(key) if key else None
        if told == "password":
            self._placeholder("password", text)
            return 0
        found = (told and self._of_key(told, text)) or self._text(text, due)
        digits = _NO_DIGITS.sub("", found)
        return value if found == text else int(digits or 0)

    def _of_key(self, told: str, text: str) -> str | None:
        """Return the placeholder of a value whose key tells of which kind it may be."""
        if not text or _PLACEHOLDER.match(text):
            return None
        if told == "password":
            found = self._keys(text)
            return found if found != text else self._secret(text)
        digits = _NO_DIGITS.sub("", text)
        shortest, longest = _DIGITS_TOLD[told]
        if len(digits) * 2 < len(text) or not shortest <= len(digits) <= longest:
            return None
        return self._phone(digits) if told == "phone" else self._placeholder(told, digits)

    def _placeholder(self, kind: str, value: str) -> str:
        self._places[kind] += 1
        number = self._numbers.number(kind, value)
        form = _FORMS.get(kind)
        return _text_placeholder(kind, number) if form is None else form(number)

    # Passes.

    def _keys(self, text: str) -> str:
        return _KEYS.sub(self._key, text)

    def _key(self, found: re.Match[str]) -> str:
        kind = str(found.lastgroup)
        if kind == "authorization":
            scheme, value = found[0].split(None, 1)
            before = found.string[max(found.start() - 20, 0) : found.start()]
            if "uthoriz" in before or _is_credential(scheme, value):
                return f"{scheme} {self._placeholder(kind, value)}"
            return found[0]
        return self._placeholder(kind, found[0])

    def _pairs(self, text: str) -> str:
        return _PAIRS.sub(self._pair, text)

    def _pair(self, found: re.Match[str]) -> str:
        value = found["value"].rstrip(".,!?)")
        if len(value) < _SHORTEST_PAIRED or (found["weak"] and "is" in found["link"]):
            return found[0]
        if found["link"].strip() == "is" and not re.search("[0-9$#@!%^&*_]", value):
            return found[0]
        start, end = found.start("value") - found.start(), len(value)
        return found[0][:start] + self._secret(value) + found[0][start + end :]

    def _secret(self, value: str) -> str:
        placeholder = self._placeholder("password", value)
        if len(value) >= _SHORTEST_KNOWN:
            self._known[value] = placeholder
        return placeholder

    def _addresses(self, text: str) -> str:
        return _ADDRESSES.sub(self._address, text)

    def _address(self, found: re.Match[str]) -> str:
        if found.lastgroup == "url":
            scheme, _, login = found[0].partition("://")
            return f"{scheme}://{self._placeholder('url_credentials', login)}"
        value = found[0].casefold().replace("%40", "@").strip(".+%-_")
        return self._placeholder("email", value)

    def _digits(self, text: str) -> str:
        return _DIGITS.sub(self._number_text, text)

    def _number_text(self, found: re.Match[str]) -> str:
        kind, text = found.lastgroup, found[0]
        digits = _NO_DIGITS.sub("", text)
        if kind == "iban":
            return self._iban_text(text)
        if kind == "card":
            if _luhn_sum(digits) % 10 == 0 and len(set(digits)) > 1:
                return self._placeholder("card_number", digits)
            return _PHONES.sub(self._number_text, text)
        if kind == "social":
            return self._placeholder("social_security_number", digits)
        if kind == "ip":
            return self._placeholder("ip_address", text)
        if kind in ("told_phone", "told_social"):
            start, told = found.start(kind) - found.start(), _NO_DIGITS.sub("", found[kind])
            if kind == "told_phone":
                return text[:start] + self._phone(told)
            return text[:start] + self._placeholder("social_security_number", told)
        if kind == "national" and not 9 <= len(digits) <= 14:
            return text
        return self._phone(digits)

    def _phone(self, digits: str) -> str:
        plain = digits.removeprefix("00") if digits.startswith("00") else digits
        if len(plain) == 11 and plain[0] == "1":
            plain = plain[1:]
        return self._placeholder("phone", plain)

    def _iban_text(self, text: str) -> str:
        compact = text.replace(" ", "").upper()
        length = _IBAN_LENGTHS.get(compact[:2], 0)
        if not length or len(compact) < length or _mod_97(compact[:length]) != 1:
            return _PHONES.sub(self._number_text, text)
        end = [place for place, letter in enumerate(text) if letter != " "][length - 1] + 1
        return self._placeholder("iban", compact[:length]) + text[end:]

    def _colons(self, text: str) -> str:
        return _IPV6.sub(self._ipv6, text)

    def _ipv6(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.IPv6Address(found[0])
        except ValueError:
            return found[0]
        return self._placeholder("ipv6_address", address.compressed)

    def _known_values(self, text: str) -> str:
        for value, placeholder in self._known.items():
            if value in text:
                kind = "user_id" if placeholder.startswith("<USER_ID") else "password"
                pattern = rf"(?<![^\W_]){re.escape(value)}(?![^\W_])"
                text, count = re.subn(pattern, lambda _, new=placeholder: new, text)  # type: ignore[misc]
                self._places[kind] += count
        return text

    def _names_in(self, text: str) -> str:
        return self._names.replaced(text, lambda name: self._placeholder("name", name))

    def _plugged(self, text: str) -> str:
        if self._plug_in is None:
            return text
        try:
            found = self._plug_in(text)
        except Exception as error:  # noqa: BLE001  (foreign code, whose message may hold the text)
            problem = f"the plug-in that redacts failed with {type(error).__name__}"
            raise AgentGymError(problem) from None
        if not isinstance(found, str):
            kind = type(found).__name__
            raise AgentGymError(f"the plug-in that redacts must return a text, not {kind}")
        self._places["plug_in"] += found != text
        return found


class _Names:
    """Names, found as whole words in any case."""

    def __init__(self, names: Iterable[str]) -> None:
        words = [tuple(_WORD.findall(name.casefold())) for name in names]
        self._names = {each for each in words if each}
        self._first = {each[0] for each in self._names}
        self._longest = max(map(len, self._names), default=0)

    def __bool__(self) -> bool:
        return bool(self._names)

    def occur_in(self, text: str) -> bool:
        if not self._names:
            return False
        plain = text.replace("\\n", " ").replace("\\t", " ").replace("\\r", " ")
        return not self._first.isdisjoint(_WORD.findall(plain.casefold()))

    def replaced(self, text: str, placeholder: Callable[[str], str]) -> str:
        words = list(_WORD.finditer(text))
        folded = [word[0].casefold() for word in words]
        parts, end, place = [], 0, 0
        while place < len(words):
            length = self._length_at(text, words, folded, place)
            if length:
                parts.append(text[end : words[place].start()])
                parts.append(placeholder(" ".join(folded[place : place + length])))
                end = words[place + length - 1].end()
            place += length or 1
        return "".join([*parts, text[end:]])

    def _length_at(
        self, text: str, words: list[re.Match[str]], folded: list[str], place: int
    ) -> int:
        """Return the number of words of the longest name that begins with a word, or 0."""
        if folded[place] not in self._first:
            return 0
        for length in range(min(self._longest, len(words) - place), 0, -1):
            if tuple(folded[place : place + length]) in self._names:
                inside = words[place : place + length]
                gaps = (b.start() - a.end() for a, b in pairwise(inside))
                if all(gap <= _WIDEST_GAP for gap in gaps):
                    return length
        return 0


_WIDEST_GAP = 2
_WORD = re.compile(r"[^\W\d_]+")


class _Step(NamedTuple):
    """A pass over texts.

    Attributes:
        sign: returns whether a text may have something to replace; quick, and never wrongly false.
        replaced: returns the text with placeholders.
    """

    sign: Callable[[Redactor, str], bool]
    replaced: Callable[[Redactor, str], str]


_Due = tuple[_Step, ...]


def _property_names(schema: Any) -> Iterator[str]:
    """Yield the names of properties in a JSON schema, at any depth."""
    if isinstance(schema, list):
        yield from (name for each in schema for name in _property_names(each))
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
        yield from (name for each in schema.values() for name in _property_names(each))


def _key_before(encoded: str, place: int) -> str:
    """Return the key of the member whose value begins at a place; an empty text for an item."""
    last = encoded.rfind('"', 0, place)
    if last < 0 or encoded[last + 1 : place].strip() != ":":
        return ""
    return encoded[encoded.rfind('"', 0, last) + 1 : last]


# Signs. Each must be found in the JSON of a text as in the text itself.

_LETTERS = bytes(
    97 if byte < 128 and (chr(byte).isalnum() or chr(byte) in "-+/") else 32 for byte in range(256)
)
_RUN = b"a" * 19
"""The letters of keys, all as one: no word is so long, and the shortest key is."""
_NUMBER = re.compile(
    # It begins with one set of characters, so that the search skips all others quickly. The
    # characters before the first digit are looked at after it. Days in ISO form are left out.
    r"[0-9](?:(?<![0-9][0-9])(?:(?![0-9]{3}-[0-9]{2}-[0-9]{2}(?![0-9]))(?:[ \-.()/]{0,2}[0-9]){6}"
    r"|[0-9]{0,2}(?:\.[0-9]{1,3}){3})"
    r"|(?<=[A-Za-z][A-Za-z][0-9])[0-9] ?[A-Za-z0-9]{4} ?[A-Za-z0-9]{4})"
)
_COLONS = re.compile(r"::|:[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}:")
_KEY_SIGNS = ("sk-", "AIza", "uthoriz", "UTHORIZ", "earer ", "EARER ")
_PAIR_SIGNS = (
    "pass", "pw", "secret", "token", "key", "uthoriz", "credential", "pin", "cvv", "cvc", "otp",
)  # fmt: skip


def _has_keys(_: Redactor, text: str) -> bool:
    if _RUN in text.encode("utf-8", "surrogatepass").translate(_LETTERS):
        return True
    return any(sign in text for sign in _KEY_SIGNS)


def _has_pairs(_: Redactor, text: str) -> bool:
    lowered = text.lower()
    return any(sign in lowered for sign in _PAIR_SIGNS)


def _has_addresses(_: Redactor, text: str) -> bool:
    return "@" in text or "%40" in text


def _has_digits(_: Redactor, text: str) -> bool:
    return _NUMBER.search(text) is not None


_STEPS = (
    _Step(_has_keys, Redactor._keys),
    _Step(_has_pairs, Redactor._pairs),
    _Step(_has_addresses, Redactor._addresses),
    _Step(_has_digits, Redactor._digits),
    _Step(lambda _, text: _COLONS.search(text) is not None, Redactor._colons),
    _Step(lambda self, text: self._names.occur_in(text), Redactor._names_in),
    _Step(lambda self, _: self._plug_in is not None, Redactor._plugged),
)
_NUMBERS_ONLY = (_STEPS[3],)
_REPLACE_KNOWN = _Step(lambda *_: True, Redactor._known_values)

# Patterns. Each begins at a boundary and has no nested repetition, so none takes more than linear
# time.

_NO_DIGITS = re.compile("[^0-9]+")
_WHOLE_NUMBER = re.compile(r"(?<![\w.+-])[0-9]{7,}(?![\w.])")
_ESCAPED = re.compile(r"\\+u00([2-7][0-9a-fA-F])")
_PLACEHOLDER = re.compile(r"<[A-Z_]+_[0-9]+>$")

_KEYS = re.compile(
    r"(?P<private_key>-----BEGIN [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----"
    r".*?(?:-----END [A-Z ]{0,20}PRIVATE KEY(?: BLOCK)?-----|\Z))"
    r"|(?<![A-Za-z0-9])(?:"
    r"(?P<jwt>eyJ[\w-]{8,2000}\.[\w-]{8,}(?:\.[\w-]*)?)"
    r"|(?P<aws_key>(?:AKIA|ASIA|AIDA|AROA)[A-Z0-9]{16}(?![A-Za-z0-9]))"
    r"|(?P<github_token>gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"
    r"|(?P<gitlab_token>glpat-[\w-]{16,})"
    r"|(?P<slack_token>xox[abeoprs]-[\w-]{14,}|xapp-[\w-]{14,}"
    r"|hooks\.slack\.com/services/[\w/-]{20,})"
    r"|(?P<google_key>AIza[\w-]{30,}|ya29\.[\w-]{20,})"
    r"|(?P<api_key>(?:sk|pk|rk)-[\w-]{16,}|(?:sk|pk|rk)_(?:live|test)_\w{16,}"
    r"|(?:hf|npm|dop_v1)_[A-Za-z0-9]{20,}|SG\.[\w-]{16,}\.[\w-]{16,}|(?:AC|SK)[0-9a-f]{32}"
    r"|[0-9]{8,10}:[\w-]{35}(?![\w-]))"
    r"|(?P<authorization>(?:[Bb]earer|BEARER|[Bb]asic|BASIC)\s+[A-Za-z0-9+/._~=-]{8,})"
    r")",
    re.DOTALL,
)
_CALLED = (
    r"pass(?:word|wd|phrase|code)s?|pwd|secret(?:[ _-]?(?:access[ _-]?)?key)?|api[ _-]?key"
    r"|(?:access|account|shared)[ _-]?key(?:[ _-]?id)?"
    r"|(?:(?:access|auth|refresh|session|bearer|api)[ _-]?)?token"
    r"|client[ _-]?secret|private[ _-]?key|authorization|credentials?"
)
_PAIRS = re.compile(
    rf"(?<![A-Za-z])(?:{_CALLED}|(?P<weak>pass|pw)|cv[vc]|pin(?: code)?)[\"'\\]{{0,4}}"
    r"(?P<link>\s{0,4}[:=]{1,2}>?|\s{1,4}is(?=\s))\s{0,4}[\"'\\]{0,4}"
    r"(?P<value>(?!<[A-Z_]+_[0-9]+>|(?:[Bb]earer|[Bb]asic)\s)[^\s\"'\\,;<>{}&]{3,})",
    re.IGNORECASE,
)
_TELLING_KEYS = {
    "password": re.compile(rf"^(?:\w{{0,40}}[_-])?(?:{_CALLED}|cvv|cvc|pin|otp)$", re.IGNORECASE),
    "phone": re.compile("phone|mobile|cell|whatsapp|fax|^tel", re.IGNORECASE),
    "card_number": re.compile("card|^pan$", re.IGNORECASE),
    "social_security_number": re.compile("ssn|social", re.IGNORECASE),
}
_DIGITS_TOLD = {"phone": (7, 15), "card_number": (12, 19), "social_security_number": (9, 9)}
"""Smallest and largest number of digits of a value whose key tells its kind."""


_TELLING = re.compile(
    re.sub(r"[\^$]", "", "|".join(_TELLING_KEYS[kind].pattern for kind in _DIGITS_TOLD)),
    re.IGNORECASE,
)
"""Parts of a key that tells of a number."""


@lru_cache(maxsize=4096)
def _told_by(key: str) -> str | None:
    """Return the kind of which a value with this key may be; ``None`` for most keys."""
    return next((kind for kind, keys in _TELLING_KEYS.items() if keys.search(key)), None)


_ADDRESSES = re.compile(
    r"(?P<url>(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/\"'<>?#\\]{1,300}@)"
    r"|(?<![\w.+%&-])(?:[^\W\d_]{1,20}')?[\w.+%&-]+?(?:@|%40)(?:[\w-]+\.)+[\w-]{2,}"
)
_PHONE_PATTERNS = (
    r"(?P<international>(?<![\w.])(?:\+|00)[1-9](?:[ .()/-]{0,2}[0-9]){7,13}(?![0-9]))"
    r"|(?P<american>(?<![\w.+-])(?:\+?1[ .-]?)?(?:"
    r"(?:\([0-9]{3}\)|[0-9]{3})[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}|\([0-9]{3}\)[0-9]{3}[ .-]?[0-9]{4}"
    r"|[2-9][0-9]{2}[2-9][0-9]{2}[ .-]?[0-9]{4})(?!\w|-[0-9]))"
    r"|(?P<national>(?<![\w.+-])\(?0[0-9]{1,4}\)?[ ./-]{0,2}[0-9]{2,4}(?:[ .-]?[0-9]{2,4}){1,4}"
    r"(?!\w|-[0-9]))"
)
_DIGITS = re.compile(
    r"(?P<iban>(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[A-Za-z0-9]{11,30}"
    r"|(?: [A-Za-z0-9]{4}){2,7}(?: [A-Za-z0-9]{1,4})?)(?![A-Za-z0-9]))"
    r"|(?P<ip>(?<![\w.])(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])(?![0-9]|\.[0-9]))"
    r"|(?P<card>(?<![0-9])(?:[0-9]{4}[ .-]){3}[0-9]{1,7}(?![0-9])"
    r"|(?<![0-9])3[47][0-9]{2}[ -][0-9]{6}[ -][0-9]{5}(?![0-9])"
    r"|(?<![0-9.])[2-6][0-9]{12,18}(?![0-9]))"
    r"|(?P<social>(?<![\w-])(?!000|666|9)[0-9]{3}(?P<gap>[ -])[0-9]{2}(?P=gap)[0-9]{4}(?![\w-]))"
    rf"|{_PHONE_PATTERNS}"
    r"|(?P<local>(?<![\w.+-])555-[0-9]{4}(?![\w-]))"
    r"|(?:phone|mobile|cell|call|tel|fax|whatsapp)[^0-9+\n]{0,25}?"
    r"(?P<told_phone>\+?\(?[0-9](?:[ .()-]{0,2}[0-9]){6,14}(?![0-9]))"
    r"|(?:ssn|social security)[^0-9\n]{0,20}(?P<told_social>[0-9]{9})(?![0-9])",
    re.IGNORECASE,
)
_PHONES = re.compile(_PHONE_PATTERNS)
_IPV6 = re.compile(r"(?<![\w:])[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?![\w:])")
_IBAN_LENGTHS = {
    found[1]: int(found[2])
    for found in re.finditer(
        "([A-Z]{2})([0-9]{2})",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 "
        "EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 "
        "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 "
        "NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 SK24 SM27 ST25 SV28 TL23 "
        "TN24 TR26 UA29 VA22 VG24 XK20",
    )
}
"""Lengths of account numbers by country, from SWIFT's IBAN registry."""


def _is_credential(scheme: str, value: str) -> bool:
    """Return whether what follows ``Bearer`` or ``Basic`` is one, and not a word of a sentence."""
    if scheme.lower() == "bearer":
        return re.search("[0-9=+/]", value) is not None or len(value) > _LONGEST_WORD
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError:
        return False


_LONGEST_WORD = 24


def _luhn_sum(digits: str) -> int:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    return sum(map(int, digits[-1::-2])) + sum(each - 9 * (each > 9) for each in doubled)


def _mod_97(account: str) -> int:
    return int("".join(str(int(letter, 36)) for letter in account[4:] + account[:4])) % 97


# Options of the command line.


def read_names(path: Path) -> list[str]:
    """Read a list of names, one a line; blank lines and those that begin with ``#`` are left out.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        text = as_utf8(read_file(path), str(path)).decode()
    except UnicodeDecodeError as error:
        raise DataError("the list of names is not in UTF-8", file=str(path)) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
