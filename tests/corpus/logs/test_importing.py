"""An import makes a corpus of a log: redacted, in splits, whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import pytest

from agent_gym_env import import_logs, make_policy, play_episodes
from agent_gym_env.cli.exit_codes import ExitCode
from agent_gym_env.cli.main import main
from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.corpus.logs.importing import ImportReport
from agent_gym_env.errors import AgentGymError, DataError, StorageError
from agent_gym_env.rollout.journal.reading import write_episodes

TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Ask support@shop-internal.example if it fails.",
        "parameters": {"type": "object", "properties": {"email": {"type": "string"}}},
    },
}
SECRETS = {
    "email": "maria.gonzalez@example.org",
    "phone": "(415) 555-2671",
    "card_number": "4111 1111 1111 1111",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "social_security_number": "123-45-6789",
    "aws_key": "AKIAIOSFODNN7EXAMPLE",
    "github_token": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "api_key": "sk-proj-abcdEFGH1234567890abcd",
    "slack_token": "xoxb-123456789012-abcdefGHIJ",
    "google_key": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
    "private_key": "MIIBOgIBAAJBAKj34Gkx",
    "authorization": "abc123def456",
    "password": "hunter2xyz",
    "url_credentials": "bob:pa55word",
    "ip_address": "93.184.216.34",
    "name": "Maria Gonzalez",
    "user_id": "mia_li_3668",
}
"""One value of each kind, as the log has them."""
WORDS = {
    "private_key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "authorization": "Authorization: Bearer {}",
    "password": "My password is {}.",
    "url_credentials": "https://{}@db.example.org/orders",
}


def said(kind: str) -> str:
    return WORDS.get(kind, "It is {}, please.").format(SECRETS[kind])


def call(arguments: Any, result: Any, name: str = "find_order") -> list[dict[str, Any]]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    calls = [{"id": "1", "type": "function", "function": function}]
    return [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": result},
    ]


def secret_record(kind: str) -> dict[str, Any]:
    """A conversation that has a secret wherever a text can be."""
    secret = said(kind)
    nested = json.dumps({"row": json.dumps({"note": f"\n{secret}"})})
    return {
        "id": f"{kind} {secret}",
        "user_id": SECRETS["user_id"],
        "messages": [
            {"role": "system", "content": f"About the customer: {secret}"},
            {"role": "user", "content": f"Hello! {secret} Where is my order number {kind}?"},
            *call({"email": secret, "more": {"deep": [secret]}, secret: 1}, nested),
            {"role": "assistant", "content": f"Found it. {secret}"},
            {"role": "user", "content": f"Thanks, for {kind} that is all."},
            {"role": "assistant", "content": "Bye."},
        ],
        "tools": [TOOL],
    }


def write(path: Path, records: list[Any]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in records), "utf-8")
    return path


@pytest.fixture
def secret_log(tmp_path: Path) -> Path:
    broken = secret_record("email")
    broken["id"] = "broken"
    del broken["messages"][3]
    records = [*map(secret_record, SECRETS), broken, {"messages": said("email")}]
    log = write(tmp_path / "secrets.jsonl", records)
    with log.open("a") as file:
        file.write(f"{said('email')} is not JSON\n")
    return log


def names_file(tmp_path: Path) -> Path:
    path = tmp_path / "names.txt"
    path.write_text("Maria Gonzalez\n", "utf-8")
    return path


def assert_no_secret(content: str, where: str) -> None:
    for kind, secret in SECRETS.items():
        assert secret not in content, (where, kind)
        assert secret.replace(" ", "") not in content, (where, kind)


def test_planted_secrets_reach_nothing_that_comes_of_a_log(
    secret_log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "corpus"
    names = names_file(tmp_path)
    words = ["import", str(secret_log), "--names", str(names)]
    words += ["--shares", "1", "0", "0", "--out", str(out)]
    assert main(words) == ExitCode.DATA
    assert main([*words, "--skip-bad", "--json"]) == ExitCode.DONE
    assert main(words[:-2]) == ExitCode.DONE
    report = msgspec.json.decode((out / "report.json").read_bytes(), type=ImportReport)
    assert {each.kind for each in report.redacted or ()} >= set(SECRETS)
    assert {each.kind: each.conversations for each in report.left_out} == {
        "call_without_result": 1,
        "format": 1,
        "json": 1,
    }
    corpus: dict[str, Any] = {"corpus": str(out), "split": "train"}
    episodes = [*play_episodes("oracle", episodes=len(SECRETS), **corpus)]
    assert all(turn.reward == 1.0 for each in episodes for turn in each.turns)
    journal = tmp_path / "episodes.jsonl"
    assert list(write_episodes(journal, episodes))
    assert main(["report", str(journal), "--out", str(tmp_path / "page.html")]) == ExitCode.DONE
    store = open_corpus(out).store_path("train")
    for path in [*out.iterdir(), journal, tmp_path / "page.html", store]:
        assert_no_secret(path.read_bytes().decode("utf-8", "replace"), path.name)
    printed = capfd.readouterr()
    assert_no_secret(printed.out + printed.err, "printed")
    assert "support@" not in (out / "tools.json").read_text()


def test_errors_show_no_content_of_a_redacted_log(secret_log: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        import_logs(secret_log, tmp_path / "corpus")
    error: BaseException | None = caught.value
    while error is not None:
        assert_no_secret(f"{error!r} {error}", "error")
        error = error.__cause__ or error.__context__
    assert "3 of 21 conversations cannot be used" in str(caught.value)
    assert f"{secret_log}:19 at /messages" in str(caught.value)
    with pytest.raises(DataError, match="is not JSON"):
        import_logs(secret_log, tmp_path / "corpus", redact=False)


def test_arguments_still_equal_the_words(secret_log: Path, tmp_path: Path) -> None:
    import_logs(secret_log, tmp_path / "corpus", skip_bad=True, names=names_file(tmp_path))
    for name in open_corpus(tmp_path / "corpus").splits():
        split = open_corpus(tmp_path / "corpus").split(name)
        for index in range(len(split)):
            first = split.task(index).turns[0]
            secret = first.user.removeprefix("Hello! ").partition(" Where is my order")[0]
            expected = {"email": secret, "more": {"deep": [secret]}, secret: 1}
            assert first.calls[0].arguments == expected
            assert secret in first.text


def test_without_redaction_texts_are_as_they_were(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [secret_record(kind) for kind in SECRETS])
    report = import_logs(log, tmp_path / "corpus", redact=False)
    assert report.redacted is None
    lines = [
        json.loads(line)
        for name in ("train", "dev", "test")
        if (tmp_path / "corpus" / f"{name}.jsonl").exists()
        for line in (tmp_path / "corpus" / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]
    users = {line["messages"][1]["content"] for line in lines}
    assert users == {secret_record(kind)["messages"][1]["content"] for kind in SECRETS}


# Small logs.


def record(number: int, user: str = "ann", **facts: Any) -> dict[str, Any]:
    words = " ".join(f"word{number * 37 + step}" for step in range(30))
    messages = [
        {"role": "user", "content": words},
        *call({"number": number}, json.dumps({"found": number}), name="look_up"),
        {"role": "assistant", "content": f"It is {number}."},
    ]
    return {"id": f"c{number}", "user_id": user, "messages": messages, **facts}


def splits_of(folder: Path) -> dict[str, str]:
    found = {}
    for name in open_corpus(folder).splits():
        for line in (folder / f"{name}.jsonl").read_text("utf-8").splitlines():
            found[json.loads(line)["id"]] = name
    return found


def test_reports_without_writing(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(1), record(2), {"messages": []}])
    report = import_logs(log)
    assert (report.conversations, report.turns, report.calls) == (2, 2, 2)
    assert (report.tools, report.without_schema, report.inferred) == (0, ("look_up",), False)
    assert [(each.kind, each.file) for each in report.left_out] == [("no_reply", f"{log}:3")]
    assert report.folder is None
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_schemas_are_inferred_only_on_request(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(1), record(2)])
    with pytest.raises(DataError, match=r"calls look_up, but does not describe.*--infer-tools"):
        import_logs(log, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    report = import_logs(log, tmp_path / "corpus", infer_tools=True)
    assert report.inferred
    split = open_corpus(tmp_path / "corpus").split(report.splits[0].split)
    parameters = split.tools["look_up"].parameters
    assert parameters is not None
    assert parameters["properties"] == {"number": {"type": "integer"}}


def test_described_and_inferred_tools_of_a_conversation_are_on_offer(tmp_path: Path) -> None:
    both = record(1, tools=[TOOL])
    alone = {**record(2), "messages": [*call({"email": "x"}, "{}"), record(2)["messages"][-1]]}
    log = write(tmp_path / "log.jsonl", [both, {**alone, "tools": [TOOL]}])
    import_logs(log, tmp_path / "corpus", infer_tools=True)
    offered = {}
    for name in open_corpus(tmp_path / "corpus").splits():
        split = open_corpus(tmp_path / "corpus").split(name)
        for index in range(len(split)):
            offered[split.task(index).dialogue_id] = set(split.task(index).services)
    assert offered == {"c1": {"find_order", "look_up"}, "c2": {"find_order"}}


def test_users_and_near_duplicates_stay_together(tmp_path: Path) -> None:
    records = [record(number, user=f"user {number % 12}") for number in range(60)]
    by_user = tmp_path / "by_user"
    log = write(tmp_path / "log.jsonl", records)
    import_logs(log, by_user, infer_tools=True, split_by="user", shares=(0.4, 0.3, 0.3))
    found = splits_of(by_user)
    users = {number: {found[f"c{each}"] for each in range(number, 60, 12)} for number in range(12)}
    assert all(len(splits) == 1 for splits in users.values())
    assert len(set(found.values())) == 3

    copies = [{**each, "id": f"{each['id']} again"} for each in records]
    log = write(tmp_path / "copies.jsonl", [*records, *copies])
    report = import_logs(log, tmp_path / "copies", infer_tools=True, shares=(0.4, 0.3, 0.3))
    found = splits_of(tmp_path / "copies")
    assert all(found[f"c{number}"] == found[f"c{number} again"] for number in range(60))
    assert report.near_duplicates is not None
    assert report.near_duplicates.conversations == 120
    assert report.near_duplicates.moved > 10
    apart = import_logs(
        log, tmp_path / "apart", infer_tools=True, shares=(0.4, 0.3, 0.3), near_duplicates=False
    )
    assert apart.near_duplicates is None
    found = splits_of(tmp_path / "apart")
    assert any(found[f"c{number}"] != found[f"c{number} again"] for number in range(60))


def test_the_logs_own_splits_are_kept_unless_told_otherwise(tmp_path: Path) -> None:
    splits = ["train", "validation", "test"] * 20
    log = write(tmp_path / "log.jsonl", [record(n, split=split) for n, split in enumerate(splits)])
    import_logs(log, tmp_path / "own", infer_tools=True)
    own = splits_of(tmp_path / "own")
    assert [own[f"c{number}"] for number in range(60)] == ["train", "dev", "test"] * 20
    import_logs(log, tmp_path / "drawn", infer_tools=True, split_by="conversation")
    assert splits_of(tmp_path / "drawn") != own


def test_same_log_same_bytes_in_any_order_the_same_splits(tmp_path: Path) -> None:
    records = [record(number) for number in range(50)]
    log = write(tmp_path / "log.jsonl", records)
    other = write(tmp_path / "other.jsonl", records[::-1])
    for name, source in (("one", log), ("two", log), ("three", other)):
        import_logs(source, tmp_path / name, infer_tools=True)
    for path in (tmp_path / "one").iterdir():
        if path.name != "report.json":
            assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert splits_of(tmp_path / "one") == splits_of(tmp_path / "three")


def test_a_folder_that_is_there_is_kept(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(1)])
    (tmp_path / "corpus").mkdir()
    with pytest.raises(StorageError, match="is there already"):
        import_logs(log, tmp_path / "corpus", infer_tools=True)
    words = ["import", str(log), "--out", str(tmp_path / "corpus"), "--infer-tools"]
    assert main(words) == ExitCode.STORAGE


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no conversation"),
        (b"\n\n", "no conversation"),
        (b"nonsense\n", "cannot be used: json 1"),
        (b'{"messages": [{"role": "user", "content": "x"}]}\n', "cannot be used: no_reply 1"),
        (b'{"a": 1}\n', "cannot be used: format 1"),
        (b"\xff\xfe\n", "cannot be used: json 1"),
    ],
)
def test_a_log_of_nothing_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        import_logs(log, tmp_path / "corpus")
    with pytest.raises(DataError, match="no conversation"):
        import_logs(log, tmp_path / "corpus", skip_bad=True)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_broken_archive_leaves_nothing(tmp_path: Path) -> None:
    content = gzip.compress("".join(json.dumps(record(n)) + "\n" for n in range(99)).encode())
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="cannot read"):
        import_logs(log, tmp_path / "corpus", infer_tools=True)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl.gz"]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_import_leaves_nothing(tmp_path: Path, how: signal.Signals) -> None:
    log = tmp_path / "log.jsonl"
    write(log, [record(number) for number in range(20_000)])
    out = tmp_path / "corpus"
    words = [sys.executable, "-m", "agent_gym_env", "import", str(log), "--infer-tools"]
    running = subprocess.Popen([*words, "--out", str(out)], stderr=subprocess.PIPE)
    while running.poll() is None and not list(tmp_path.glob(".corpus.*/unsplit")):
        time.sleep(0.01)
    running.send_signal(how)
    running.communicate()
    assert running.returncode != 0
    assert not out.exists()
    if how == signal.SIGKILL:  # the next import clears up
        import_logs(write(log, [record(1)]), out, infer_tools=True)
    assert not list(tmp_path.glob(".corpus.*"))


def shout(text: str) -> str:
    return text.replace("word1 ", "WORD ")


def breaks(text: str) -> str:
    raise RuntimeError(text)


def test_a_redactor_of_ones_own(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(0)])
    report = import_logs(log, tmp_path / "one", infer_tools=True, redactor=shout)
    assert [(each.kind, each.places) for each in report.redacted or ()] == [
        ("user_id", 1),
        ("plug_in", 1),
    ]
    with pytest.raises(AgentGymError, match="failed with RuntimeError"):
        import_logs(log, tmp_path / "two", infer_tools=True, redactor=breaks)
    with pytest.raises(ValueError, match="redactor must be nothing, not 'none'"):
        import_logs(log, tmp_path / "two", redactor="none")
    with pytest.raises(ValueError, match="without redaction"):
        import_logs(log, tmp_path / "two", redactor=shout, redact=False)
    assert not (tmp_path / "two").exists()


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(1)])
    with pytest.raises(ValueError, match="split_by must be one of log, conversation, user"):
        import_logs(log, split_by="day")
    with pytest.raises(TypeError, match="Unexpected keyword argument 'splits'"):
        import_logs(log, splits=3)
    assert main(["import", str(log), "--shares", "0.5", "0.4"]) == ExitCode.USAGE
    assert main(["import", str(tmp_path / "missing.jsonl")]) == ExitCode.DATA


def test_progress_is_told(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(number) for number in range(120)])
    told: list[int] = []
    import_logs(log, on_progress=told.append)
    assert told == [50, 100, 120]


def test_policies_play_an_imported_corpus(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", [record(number) for number in range(30)])
    import_logs(log, tmp_path / "corpus", infer_tools=True)
    env = gym.make("agent_gym_env:Traces-v0", corpus=str(tmp_path / "corpus"), split="train")
    policy = make_policy("oracle", env)
    observation, _ = env.reset(seed=1)
    total, ended = 0.0, False
    while not ended:
        observation, reward, ended, _, _ = env.step(policy.act(observation))
        total += float(reward)
    assert total == 1.0


def test_names_of_arguments_stay_though_a_user_has_the_same_name(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"guest": {"type": "string"}}}
    call = {"name": "book", "arguments": {"guest": "Bob"}}
    record = {
        "user_id": "guest",
        "tools": [{"name": "book", "parameters": schema}],
        "messages": [
            {"role": "user", "content": "A room for Bob, I am guest."},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": call}]},
            {"role": "tool", "tool_call_id": "1", "content": "booked"},
            {"role": "assistant", "content": "Booked."},
        ],
    }
    (tmp_path / "log.jsonl").write_bytes(msgspec.json.encode(record))
    import_logs(tmp_path / "log.jsonl", tmp_path / "out", shares=(1, 0, 0))
    task = open_corpus(tmp_path / "out").split("train").task(0)
    assert task.turns[0].calls[0].arguments == {"guest": "Bob"}
    assert task.turns[0].user == "A room for Bob, I am <USER_ID_1>."
