"""Hands hostile files and values to every reader while Python reports what is done with them.

``python -m tests.reliability.audited FOLDER`` works inside of FOLDER and prints, as JSON, how many
things were read, every import, execution, connection and file written elsewhere, and whether the
audit notices an unpickling at all.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent_gym_env.corpus.corpus import open_corpus
from agent_gym_env.envs.dialogue import SGDEnv
from agent_gym_env.errors import AgentGymError
from agent_gym_env.rollout.journal.reading import read_episodes
from tests.corpora import write_tiny_corpus

_WATCHED = (
    "pickle.find_class", "marshal.load", "exec", "compile", "import", "code.__new__", "os.system",
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen",
    "socket.connect", "socket.getaddrinfo", "socket.bind", "urllib.Request", "ctypes.dlopen",
    "webbrowser.open", "pty.spawn", "os.putenv", "sys.setprofile",
)  # fmt: skip
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod")


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch evil",)


CODE = (
    "__import__('os').system('touch evil')",
    "!!python/object/apply:os.system ['touch evil']",
    "{{ ''.__class__.__mro__ }}",
    "${jndi:ldap://127.0.0.1/a}",
    "`touch evil`",
    "$(touch evil)",
    "file:///etc/passwd",
    "http://127.0.0.1:9/x",
    "../../../../etc/passwd",
    "os:system",
    "agent_gym_env.envs.dialogue:SGDEnv",
    "{0.__class__.__init__.__globals__}",
    "%(x)s %n",
    "\x1b]0;evil\x07",
)


def hostile_bytes() -> list[bytes]:
    """Write what other readers would execute."""
    array = io.BytesIO()
    np.save(array, np.array([Evil()], dtype=object), allow_pickle=True)
    return [
        pickle.dumps(Evil()),
        pickle.dumps([{"service_name": Evil()}]),
        array.getvalue(),
        b"PAR1" + bytes(100) + b"PAR1",
        b"SQLite format 3\0" + bytes(100),
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"#!/bin/sh\ntouch evil\n",
        b"import os; os.system('touch evil')",
        *(text.encode() for text in CODE),
        *(json.dumps([text]).encode() for text in CODE),
        *(json.dumps({"__reduce__": [text]}).encode() for text in CODE),
    ]


def archives(folder: Path) -> Iterator[Path]:
    """Write archives whose members would land outside of a folder."""
    names = [
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "train/../../evil",
        "a\0b",
    ]
    for number, name in enumerate(names):
        path = folder / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("train/schema.json", "[]")
            archive.writestr(name, "evil")
        yield path
    for number, (name, kind) in enumerate(
        [(name, tarfile.REGTYPE) for name in names[:-1]]
        + [("train/dialogues_001.json", kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE)]
        + [("train/x", tarfile.FIFOTYPE), ("train/x", tarfile.CHRTYPE)]
    ):
        path = folder / f"{number}.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        yield path


def attempts(folder: Path) -> Iterator[Callable[[], object]]:
    """Yield a call of every reader with every hostile input."""
    corpus = write_tiny_corpus(folder / "corpus")
    contents = hostile_bytes()
    env = SGDEnv(str(corpus))
    env.reset(seed=0)
    state = env.get_state()

    def over(path: Path, content: bytes, use: Callable[[], object]) -> Callable[[], object]:
        """Use a file that says something else for once."""

        def attempt() -> None:
            whole = path.read_bytes()
            path.write_bytes(content)
            try:
                use()
            finally:
                path.write_bytes(whole)

        return attempt

    store = open_corpus(corpus).build("train")
    for content in contents:
        for name in ("schema.json", "dialogues_001.json"):
            yield over(corpus / "train" / name, content, lambda: SGDEnv(str(corpus)))
        yield over(store, content, lambda: SGDEnv(str(corpus)).reset(seed=0))
        yield over(folder / "file", content, lambda: open_corpus(folder / "file"))
        yield over(folder / "file", content, lambda: list(read_episodes(folder / "file")))
    for path in archives(folder):
        yield lambda path=path: open_corpus(path).split("train")  # type: ignore[misc]
    for text in CODE:
        for arguments in configurations(text):
            yield lambda arguments=arguments: SGDEnv(**{"corpus": str(corpus), **arguments})  # type: ignore[misc]
        for key in state:
            yield lambda key=key, text=text: env.set_state({**state, key: text})  # type: ignore[misc]
        for action in actions(text):
            yield lambda action=action: SGDEnv.step(begun(env), action)  # type: ignore[misc]


def configurations(text: str) -> Iterator[dict[str, Any]]:
    for name in ("corpus", "split", "seen", "schema_variant", "reward", "tools_offered"):
        yield {name: text}
    yield {"services": [text]}
    yield {"reward": {"name": text}}
    yield {"reward": {"name": "balanced", text: text}}
    yield {"render_mode": text}


def actions(text: str) -> Iterator[Any]:
    yield text
    yield {"text": text, "tool_calls": text}
    for name in (text, "FindTea"):
        yield {"text": "", "tool_call": {"name": name, "arguments": {"kind": text, text: text}}}


def begun(env: SGDEnv) -> SGDEnv:
    """Begin a dialogue where the last one is over, or was spoilt by a state."""
    env.reset(seed=0)
    return env


class Audit:
    """Notes what Python does while it is listening."""

    def __init__(self, folder: Path) -> None:
        self._inside = f"{folder}{os.sep}"
        self.listening = False
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.listening:
            return
        if event.startswith(_WATCHED) or self._changes_elsewhere(event, arguments):
            self.seen.append(f"{event} {arguments[:1]!r}"[:200])

    def _changes_elsewhere(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event not in _CHANGES and not (event == "open" and self._writes(arguments)):
            return False
        return not os.path.abspath(os.fsdecode(arguments[0])).startswith(self._inside)

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        path, _, flags = arguments
        return isinstance(path, (str, bytes)) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def main(folder: Path) -> None:
    """Make every attempt twice; what is imported lazily comes with the first."""
    os.environ["AGENT_GYM_HOME"] = str(folder / "home")
    os.chdir(folder)
    (folder / "file").touch()
    audit = Audit(folder)
    sys.addaudithook(audit)
    count = 0
    for audit.listening in (False, True):
        for attempt in list(attempts(folder)):
            count += audit.listening
            try:
                attempt()
            except (AgentGymError, TypeError, ValueError):
                continue
    seen = audit.seen.copy()
    pickle.loads(b"cos\nsystem\n.")
    audit.listening = False
    print(
        json.dumps(
            {
                "attempts": count,
                "seen": seen,
                "noticed": len(audit.seen) - len(seen),
                "evil": (folder / "evil").exists(),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
