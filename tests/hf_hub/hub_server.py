"""A server of the Hugging Face hub's HTTP interface on this machine, for tests.

It has what `huggingface_hub` asks when it makes a repository, commits to it and reads from it:
small files inside of the commit, large ones through LFS. Every request needs the token.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_testtokenabcdefghijklmnop"
LFS = (".npz", ".parquet", ".safetensors", ".bin")


class Repository:
    """A repository: its commits, each a mapping from names to contents."""

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self.commits: list[tuple[str, dict[str, bytes]]] = [(_commit_id("0"), {})]

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1][1]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        if revision == "main":
            return self.commits[-1]
        return next((each for each in self.commits if each[0] == revision), None)

    def commit(self, changes: dict[str, bytes]) -> str:
        name = _commit_id(f"{len(self.commits)} {sorted(changes)}")
        self.commits.append((name, {**self.files, **changes}))
        return name


def _commit_id(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


class HubServer:
    """The server: its repositories by kind and name, and what it was asked.

    Attributes:
        repositories: repositories by ``models/owner/name`` or ``datasets/owner/name``.
        stored: contents of LFS objects by SHA-256.
        asked: method and path of each request.
        url: address of the server.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.stated: dict[str, str] = {}
        self.asked: list[str] = []
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[HubServer]:
        hub = self

        class Handler(_Handler):
            state = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        content = self._body()
        self.state.stored[self.path.rpartition("/")[2]] = content
        self._send(200, b"")

    def _answer(self, respond: Any) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.asked.append(f"{self.command} {path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401, "RepoNotFound", "Invalid username or password.")
            return
        respond(path.strip("/").split("/"))

    def _get(self, parts: list[str]) -> None:
        if parts[0] == "api":
            _, kind, owner, name, *rest = parts
            self._info(f"{kind}/{owner}/{name}", rest[1] if rest[:1] == ["revision"] else "main")
            return
        kind = parts.pop(0) if parts[0] == "datasets" else "models"
        owner, name, _, revision, *file = parts
        found = self._at(f"{kind}/{owner}/{name}", revision)
        if found is not None:
            self._file(*found, "/".join(file))

    def _at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        repository = self.state.repositories.get(name)
        if repository is None:
            self._error(404, "RepoNotFound", "Repository not found")
            return None
        found = repository.at(revision)
        if found is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def _info(self, name: str, revision: str) -> None:
        found = self._at(name, revision)
        if found is None:
            return
        commit, files = found
        siblings = [self._sibling(each, content) for each, content in files.items()]
        owner_and_name = name.partition("/")[2]
        self._json(
            {
                "id": owner_and_name,
                "sha": commit,
                "private": self.state.repositories[name].private,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        found: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
        if name.endswith(LFS):
            digest = self.state.stated.get(name, hashlib.sha256(content).hexdigest())
            found["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return found

    def _file(self, commit: str, files: dict[str, bytes], name: str) -> None:
        if name not in files:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        content = files[name]
        etag = hashlib.sha256(content).hexdigest()
        self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def _post(self, parts: list[str]) -> None:
        body = self._body()
        if parts[:3] == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts == ["api", "validate-yaml"]:
            self._json({"errors": [], "warnings": []})
        elif parts[-3:] == ["lfs", "objects", "batch"]:
            self._batch(json.loads(body))
        elif parts[4] == "preupload":
            files = json.loads(body)["files"]
            self._json({"files": list(map(_upload_mode, files))})
        elif parts[4] == "commit":
            self._commit("/".join(parts[1:4]), body)

    def _create(self, request: dict[str, Any]) -> None:
        name = f"{request.get('type') or 'model'}s/{request['organization']}/{request['name']}"
        if name in self.state.repositories:
            self._json({"error": "You already created this repo", "url": self._url(name)}, 409)
            return
        private = request.get("visibility") == "private" or request.get("private") is True
        self.state.repositories[name] = Repository(private=private)
        self._json({"url": self._url(name)})

    def _url(self, name: str) -> str:
        return f"{self.state.url}/{name.removeprefix('models/')}"

    def _batch(self, request: dict[str, Any]) -> None:
        objects = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.state.url}/lfs/{each['oid']}"}},
            }
            for each in request["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str, body: bytes) -> None:
        changes: dict[str, bytes] = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                changes[value["path"]] = self.state.stored[value["oid"]]
        commit = self.state.repositories[name].commit(changes)
        url = f"{self._url(name)}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str, message: str) -> None:
        self._body()
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self._send(status, b"{}", {"Content-Type": "application/json", **headers})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _upload_mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "lfs" if file["path"].endswith(LFS) else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}
