import threading
from pathlib import Path

import pytest

from agent_gym_env.errors import StorageError
from agent_gym_env.server.browse.index import Key
from agent_gym_env.server.browse.notes import (
    MAX_NOTE_CHARS,
    MAX_TAG_CHARS,
    MAX_TAGS,
    NoteBook,
    Remarks,
    keys_with,
    place,
    tags_in,
)
from agent_gym_env.server.browse.runs import RunFolder
from tests.evaluation.episode_factory import episodes
from tests.server.browse.recorded_runs import write_run

WHERE = place(Key(17), "1_00017")


def book_of(tmp_path: Path) -> NoteBook:
    if not (tmp_path / "run").exists():
        write_run(tmp_path / "run", episodes([0.5]))
    (run,) = RunFolder(tmp_path).runs()
    return NoteBook(run)


def test_remarks_lie_beside_the_journal_and_not_in_it(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    before = sorted((tmp_path / "run").rglob("*"))
    book.add_tag(WHERE, "odd")
    assert book.path == tmp_path / "run.notes.json"
    assert sorted((tmp_path / "run").rglob("*")) == before
    assert [run.name for run in RunFolder(tmp_path).runs()] == ["run"]


def test_tags_and_notes_are_added_and_removed(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    book.add_tag(WHERE, " two   words ")
    book.add_tag(WHERE, "two words")
    book.add_tag(WHERE, "a")
    noted = book.add_note(WHERE, "First.\r\nSecond.\n")
    assert noted.tags == ("a", "two words")
    assert [note.text for note in noted.notes] == ["First.\nSecond."]
    assert book_of(tmp_path).read() == {WHERE: noted}
    book.remove_tag(WHERE, "two words")
    book.remove_tag(WHERE, "another")
    book.remove_note(WHERE, noted.notes[0].id)
    assert book.read() == {WHERE: Remarks(tags=("a",))}
    book.remove_tag(WHERE, "a")
    assert book.read() == {}


@pytest.mark.parametrize("tag", ["", " \n", "x" * (MAX_TAG_CHARS + 1)])
def test_a_tag_has_a_length(tmp_path: Path, tag: str) -> None:
    with pytest.raises(ValueError, match="a tag has"):
        book_of(tmp_path).add_tag(WHERE, tag)


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_NOTE_CHARS + 1)])
def test_a_note_has_a_length(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="a note has"):
        book_of(tmp_path).add_note(WHERE, text)


def test_an_episode_has_so_many_tags(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    for number in range(MAX_TAGS):
        book.add_tag(WHERE, str(number))
    with pytest.raises(ValueError, match="at most"):
        book.add_tag(WHERE, "more")
    assert len(book.read()[WHERE].tags) == MAX_TAGS


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    at_once = threading.Barrier(4)

    def write(writer: int) -> None:
        at_once.wait(60)
        for number in range(5):
            NoteBook(RunFolder(tmp_path).runs()[0]).add_note(WHERE, f"{writer}: {number}")
            book.add_tag(WHERE, f"{writer}-{number}")

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    written = book.read()[WHERE]
    assert {note.text for note in written.notes} == {
        f"{w}: {n}" for w in range(4) for n in range(5)
    }
    assert len(written.tags) == 20


@pytest.mark.parametrize(
    "content", ["", "{", '{"format": 2, "episodes": {}}', '{"episodes": {"x": {}}}', "[]"]
)
def test_a_damaged_file_is_not_overwritten(tmp_path: Path, content: str) -> None:
    book = book_of(tmp_path)
    book.path.write_text(content)
    with pytest.raises(StorageError, match=r"run\.notes\.json"):
        book.add_tag(WHERE, "odd")
    assert book.path.read_text() == content


def test_tags_lead_to_keys(tmp_path: Path) -> None:
    book = book_of(tmp_path)
    book.add_tag(place(Key(2, 1), "a b"), "odd")
    book.add_note(place(Key(3), "c"), "Look.")
    assert keys_with(book.read(), "odd") == [Key(2, 1)]
    assert keys_with(book.read(), "any") == [Key(2, 1), Key(3)]
    assert tags_in(book.read()) == ["odd"]
