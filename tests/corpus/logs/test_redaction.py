"""Personal data and secrets are replaced, each value by one placeholder, and nothing else is."""

from __future__ import annotations

import doctest
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent_gym_env.corpus.logs import redaction as module
from agent_gym_env.corpus.logs.chat import read_chat
from agent_gym_env.corpus.logs.redaction import KINDS, Redactor, read_names
from agent_gym_env.corpus.reader import Place
from agent_gym_env.corpus.tool_specs import FunctionTool
from agent_gym_env.errors import AgentGymError, DataError

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34Gk\nxFhD90vcN\n-----END RSA PRIVATE KEY-----"
)
GITHUB = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
GOOGLE = "AIzaSyA1234567890abcdefghijklmnopqrstuv"
SECRETS: list[tuple[str, str, str]] = [
    ("email", "ada@example.org", "write to ada@example.org."),
    ("email", "o'brien+x@mail.example.co.uk", "it's 'o'brien+x@mail.example.co.uk'"),
    ("email", "ada%40example.org", "https://example.com/?mail=ada%40example.org"),
    ("phone", "(415) 555-2671", "call (415) 555-2671 today"),
    ("phone", "415.555.2671", "415.555.2671"),
    ("phone", "4155552671", "my number: 4155552671"),
    ("phone", "+44 20 7946 0958", "It is +44 20 7946 0958."),
    ("phone", "030 1234567", "Tel. 030 1234567"),
    ("phone", "555-2671", "my phone number is 555-2671"),
    ("phone", "555-0123", "reach me at 555-0123."),
    ("phone", "07911 123456", "07911 123456"),
    ("card_number", "4111 1111 1111 1111", "Card 4111 1111 1111 1111, please"),
    ("card_number", "378282246310005", "378282246310005"),
    ("card_number", "5105-1051-0510-5100", "pay with 5105-1051-0510-5100"),
    ("iban", "GB82 WEST 1234 5698 7654 32", "to GB82 WEST 1234 5698 7654 32 now"),
    ("iban", "de89370400440532013000", "de89370400440532013000"),
    ("social_security_number", "123-45-6789", "SSN 123-45-6789"),
    ("social_security_number", "123456789", "my social security number is 123456789"),
    ("aws_key", "AKIAIOSFODNN7EXAMPLE", "key AKIAIOSFODNN7EXAMPLE"),
    ("github_token", GITHUB, GITHUB),
    ("gitlab_token", "glpat-abcdefghijklmnopqrst", "use glpat-abcdefghijklmnopqrst"),
    ("slack_token", "xoxb-123456789012-abcdefGHIJ", "xoxb-123456789012-abcdefGHIJ"),
    ("google_key", GOOGLE, GOOGLE),
    ("api_key", "sk-proj-abcdEFGH1234567890abcd", "it is sk-proj-abcdEFGH1234567890abcd."),
    ("api_key", "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("api_key", "0123456789abcdef", "SK0123456789abcdef0123456789abcdef"),
    ("api_key", "SG.abcdefghijklmnopqrstuv.", "SG.abcdefghijklmnopqrstuv.ABCDEFGHIJKLMNOPQRST"),
    ("slack_token", "T024BE7LD", "https://hooks.slack.com/services/T024BE7LD/B0A/ABCDEFGHIJKLMNOPQRST"),
    ("password", "hunter2", "pass: hunter2"),
    ("password", "4711", "my PIN is 4711"),
    ("password", "123", "the CVV is 123"),
    ("password", "abcdef", "PW: abcdef"),
    ("password", "x7y8z9", "AccountKey=x7y8z9;"),
    ("jwt", JWT, f"cookie {JWT}"),
    ("private_key", "MIIBOgIBAAJBAKj34Gk", PEM),
    ("authorization", "abc123def456", "Authorization: Bearer abc123def456"),
    ("authorization", "dXNlcjpwYXNz", "curl -H 'Authorization: Basic dXNlcjpwYXNz'"),
    ("password", "hunter2!x", "password=hunter2!x"),
    ("password", "S3cret99", "my password is S3cret99, ok?"),
    ("password", "abcdef", '"api_key": "abcdef"'),
    ("url_credentials", "bob:pa55", "https://bob:pa55@db.example.com/x"),
    ("ip_address", "93.184.216.34", "from 93.184.216.34."),
    ("ipv6_address", "2001:db8:85a3::8a2e:370:7334", "at 2001:db8:85a3::8a2e:370:7334"),
    ("name", "Ada Lovelace", "I am ADA LOVELACE and Ada  Lovelace"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "secret", "text"), SECRETS)
def test_finds(kind: str, secret: str, text: str) -> None:
    redactor = Redactor(names=["Ada Lovelace"])
    found = redactor.text(text)
    assert secret.lower() not in found.lower()
    assert [each.kind for each in redactor.counts()] == [kind]


@pytest.mark.parametrize(("kind", "secret", "text"), SECRETS)
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_finds_in_json_inside_of_texts(kind: str, secret: str, text: str, levels: int) -> None:
    value: Any = {"rows": [{"note": f"\n{text}"}]}
    for _ in range(levels):
        value = json.dumps({"inner": value}, ensure_ascii=True)
    redactor = Redactor(names=["Ada Lovelace"])
    found = redactor.text(value)
    assert secret.lower() not in _plain(found).lower()
    assert kind in [each.kind for each in redactor.counts()]


@pytest.mark.parametrize(("kind", "secret", "text"), SECRETS)
@pytest.mark.parametrize("key", ["note", "phone", "card", "password"])
def test_json_is_searched_in_place_as_its_value_is(
    kind: str, secret: str, text: str, key: str
) -> None:
    value = [{key: text, "n": 5, "phone": 4155552671, "id": 4155552671, "x": [1.5, text, "a"]}]
    encoded = json.dumps(value, ensure_ascii=False)
    found = Redactor()._json(encoded, Redactor()._due(encoded.encode()))
    assert json.loads(found) == Redactor().value(value)


_TEXTS = st.text("0123456789-. ()@+abcAB\"\\\\:/%'=_é\n", max_size=30)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 10**20) | st.floats(0, 1e9) | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["phone", "card", "pin", "a", "ssn"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(_VALUES)
@example({"phone": ["", 1000000]})
@example({"card": [[True, {}], 999999999999]})
@example({"tel": [{"a": [1000000]}, 1000000]})
def test_any_value_keeps_its_shape_and_json_in_place_is_the_same(value: Any) -> None:
    found = Redactor().value(value)
    assert _shape(found) == _shape(value)
    for encoded in (json.dumps(value), msgspec.json.encode(value).decode()):
        redactor = Redactor()
        assert json.loads(redactor._json(encoded, redactor._due(encoded.encode()))) == found


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [_shape(each) for each in value.values()]
    if isinstance(value, list):
        return [[_shape(each) for each in value]]
    return type(value)


def _plain(value: Any) -> str:
    """All texts of a value, also those in JSON in texts."""
    if isinstance(value, dict):
        return " ".join(f"{_plain(name)} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    if isinstance(value, str) and value[:1] in "{[":
        return _plain(json.loads(value))
    return str(value)


@pytest.mark.parametrize("letter", ["@", "a", "e", "."])
def test_finds_what_json_escapes_split(letter: str) -> None:
    escaped = "ada@example.org".replace(letter, f"\\u{ord(letter):04x}")
    found = Redactor().text(f'{{"mail": "{escaped}"}}')
    assert json.loads(found) == {"mail": "user1@redacted.example"}
    assert "user1@redacted.example" in Redactor().text(f'It said {{"mail": "{escaped}"')


@pytest.mark.parametrize(
    "text",
    [
        "On 2019-03-01 at 10:30:00, for 2 people, for $1,200.50.",
        "2019-03-01 2019-03-02, 01/02/2024 and 2024-05-15T10:30:00Z",
        "order 1700000000, id 987654321012, flight HAT136, mia_li_3668",
        "passengers: 3, tokens: 55, the key is under the mat",
        "my boarding pass is 4711, the opinion is 3 pins, a pass 12 miles away",
        "basic information, the bearer certificate, password is required",
        "version 1.2.3 of std::vector",
        "7 Foundry Lane, Portland 97205",
        "https://example.com/a@b?c=1",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_leaves_other_texts_alone(text: str) -> None:
    redactor = Redactor(names=["Ada Lovelace"])
    assert redactor.text(text) == text
    assert redactor.value([text, {"note": text}, 1700000000, 2.5, None, True])[0] == text
    assert redactor.counts() == []


def test_one_value_has_one_placeholder_in_all_its_forms() -> None:
    redactor = Redactor()
    phones = ["(415) 555-2671", "+1 415 555 2671", "415-555-2671", "4155552671"]
    assert {redactor.text(phone) for phone in phones} == {"5550000001"}
    assert redactor.value({"phone": 4155552671}) == {"phone": 5550000001}
    assert redactor.text("ADA@Example.org") == redactor.text("ada@example.org")
    assert redactor.text("bob@example.org") == "user2@redacted.example"
    cards = ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111"]
    assert len({redactor.text(card) for card in cards}) == 1
    assert redactor.value(4111111111111111) == int(redactor.text(cards[0]))


def test_placeholders_are_valid_values_of_their_kind() -> None:
    redactor = Redactor()
    card = redactor.text("4111 1111 1111 1111")
    assert module._luhn_sum(card) % 10 == 0
    assert module._mod_97(redactor.text("GB82 WEST 1234 5698 7654 32")) == 1


def test_keys_tell_what_a_value_is() -> None:
    redactor = Redactor()
    found = redactor.value(
        {"password": "abc", "pin": 1234, "phone": "555 2671", "ssn": "123456789", "n": 5}
    )
    assert found["password"] == "<PASSWORD_1>"
    assert found["pin"] == 0
    assert found["phone"] == "5550000001"
    assert found["ssn"] == "666-00-0001"
    assert found["n"] == 5


def _conversation(*messages: dict[str, Any], **facts: Any) -> Any:
    return read_chat({"messages": list(messages), **facts}, Place("log.jsonl:1"))


def test_a_password_is_replaced_wherever_the_conversation_has_it() -> None:
    conversation = _conversation(
        {"role": "user", "content": "I forgot whether it was hunter2x."},
        {"role": "assistant", "content": "What is it?"},
        {"role": "user", "content": "My password is hunter2x."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "function": {"name": "login", "arguments": '{"word": "hunter2x"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": '{"tried": "hunter2x"}'},
        {"role": "assistant", "content": "It worked."},
    )
    task = Redactor().conversation(conversation).task
    assert task.turns[0].user == "I forgot whether it was <PASSWORD_1>."
    assert task.turns[1].calls[0].arguments == {"word": "<PASSWORD_1>"}
    assert json.loads(task.turns[1].calls[0].results) == {"tried": "<PASSWORD_1>"}


def test_the_user_is_replaced_in_texts_too() -> None:
    conversation = _conversation(
        {"role": "user", "content": "I am mia_li_3668, call me at 415-555-2671."},
        {"role": "assistant", "content": "Hello mia_li_3668."},
        user_id="mia_li_3668",
        id="chat of ada@example.org",
    )
    found = Redactor().conversation(conversation)
    assert found.user == "<USER_ID_1>"
    assert found.task.turns[0].user == "I am <USER_ID_1>, call me at 5550000001."
    assert found.task.turns[0].text == "Hello <USER_ID_1>."
    assert found.task.dialogue_id == found.at.dialogue_id == "chat of user1@redacted.example"


def test_a_conversation_without_personal_data_is_the_same_object() -> None:
    conversation = _conversation(
        {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    )
    assert Redactor().conversation(conversation) is conversation


def test_descriptions_and_schemas_of_tools_are_searched() -> None:
    tool = FunctionTool(
        "f", "f", "Ask ada@example.org", {"properties": {"x": {"default": "ada@example.org"}}}
    )
    found = Redactor().tool(tool)
    assert found.description == "Ask user1@redacted.example"
    assert found.parameters == {"properties": {"x": {"default": "user1@redacted.example"}}}


def test_a_plug_in_replaces_more_and_its_errors_show_no_text() -> None:
    redactor = Redactor(plug_in=lambda text: text.replace("Rosebud", "<CODE>"))
    assert redactor.value({"a": ["Rosebud, ada@example.org"]}) == {
        "a": ["<CODE>, user1@redacted.example"]
    }
    assert [each.kind for each in redactor.counts()] == ["email", "plug_in"]

    def fails(text: str) -> str:
        raise ValueError(text)

    with pytest.raises(AgentGymError, match="failed with ValueError") as caught:
        Redactor(plug_in=fails).text("Rosebud")
    assert caught.value.__cause__ is None
    assert "Rosebud" not in str(caught.value)


@pytest.mark.parametrize(
    "part",
    [
        *("a", "a.", "a@", "1", "1 ", "1-", "eyJ-", "ab12", "sk-", "://", ":", "aa:", "password="),
        *("(0", "AB12 ", "-----BEGIN PRIVATE KEY-----", "\\u0041", "%40", "bearer ", "phone "),
        *("é", "a'", "a.b@c", "1.", "+1 "),
    ],
)
def test_time_is_linear_in_the_length(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        times = []
        for _ in range(3):
            start = time.process_time()
            Redactor().text(text)
            times.append(time.process_time() - start)
        return min(times)

    assert seconds(64_000) < 24 * seconds(8_000) + 0.01


def test_more_values_than_are_numbered_still_get_placeholders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_MOST_NUMBERED", 2)
    redactor = Redactor()
    found = [redactor.text(f"mail{number}@example.org") for number in (1, 2, 3, 4, 3, 1)]
    assert found[0] == found[5] == "user1@redacted.example"
    assert found[2] == found[4]
    assert len(set(found)) == 4


def test_reads_a_list_of_names(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# people\nAda Lovelace\n\n  José \n", "utf-8")
    assert read_names(path) == ["Ada Lovelace", "José"]
    redactor = Redactor(names=read_names(path))
    assert redactor.text("JOSÉ met\nAda Lovelace_1, not Josephine.") == (
        "<NAME_1> met\n<NAME_2>_1, not Josephine."
    )
    path.write_bytes("José".encode("latin-1"))
    with pytest.raises(DataError, match="not in UTF-8"):
        read_names(path)


def test_kinds_are_at_least_twelve_and_examples_run() -> None:
    assert len(KINDS) >= 12
    assert {kind for kind, _, _ in SECRETS} <= set(KINDS)
    assert doctest.testmod(module).failed == 0
