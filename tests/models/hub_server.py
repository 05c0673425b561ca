"""A stand-in for the hub's endpoints that huggingface_hub calls, on this machine's loopback address."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_stand-in"


class Hub(ThreadingHTTPServer):
    """Keeps models in memory: the files of every commit by name."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.models: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, for whole files without LFS."""

    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def _trusted(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        self._file()

    def _file(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        user, name, _, revision, *rest = self.path.partition("?")[0].strip("/").split("/")
        model = f"{user}/{name}"
        if model not in self.server.models or (model in self.server.private and not self._trusted()):
            return self._answer(404, X_Error_Code="RepoNotFound")
        commits = self.server.models[model]
        commit = [*commits][-1] if revision == "main" else revision
        if commit not in commits:
            return self._answer(404, X_Error_Code="RevisionNotFound")
        body = commits[commit].get("/".join(rest))
        if body is None:
            return self._answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        return self._answer(200, body, X_Repo_Commit=commit, ETag=f'"{hashlib.sha256(body).hexdigest()}"')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append(f"POST {self.path}")
        if not self._trusted():
            return self._answer(401, b'{"error": "log in first"}')
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        _, _, user, name, action, *_ = self.path.partition("?")[0].strip("/").split("/")
        if action == "preupload":
            files = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return self._json({"files": [{"path": one["path"], **modes} for one in files]})
        return self._commit(f"{user}/{name}", body)

    def _create(self, body: dict[str, Any]) -> None:
        name = f"{body['organization']}/{body['name']}"
        self.server.models.setdefault(name, {})
        if body.get("visibility") == "private" or body.get("private"):
            self.server.private.add(name)
        self._json({"url": f"{self.server.address}/{name}", "name": name})

    def _commit(self, name: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        files = {
            one["value"]["path"]: base64.b64decode(one["value"]["content"])
            for one in lines
            if one["key"] == "file"
        }
        oid = hashlib.sha1(body).hexdigest()
        self.server.models[name][oid] = files
        url = f"{self.server.address}/{name}/commit/{oid}"
        self._json({"commitUrl": url, "commitOid": oid, "pullRequestUrl": None})


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that is there for as long as a test needs it."""
    with Hub() as hub:
        thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()
