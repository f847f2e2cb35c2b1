"""A stand-in for the Hugging Face Hub: the part of its HTTP API that huggingface_hub asks for here.

Repositories live in a dict; each holds one commit. Files go up as base64 in the commit, as small
files do on the real Hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

TOKEN = "hf_stand_in"
OWNER = "user"  # of TOKEN; it may write nowhere else


@dataclass
class Repository:
    files: dict[str, bytes] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    @property
    def commit(self) -> str:
        digest = hashlib.sha1(usedforsecurity=False)
        for name, data in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + data)
        return digest.hexdigest()


class HubServer(ThreadingHTTPServer):
    """`repositories` by id; `requests` says what was asked, "METHOD path"."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self):
        self._answer_file()

    def do_GET(self):
        path = self._path()
        if path.endswith(("/auth-check", "/auth-check/write")):
            repo = path.removeprefix("/api/models/").split("/auth-check")[0]
            if self._repository(repo) is None:
                return self._refuse(404, "RepoNotFound")
            if not repo.startswith(f"{OWNER}/"):
                return self._refuse(403, "", "you have no write access to this repository")
            return self._send(200, {})
        if path.startswith("/api/"):
            return self._refuse(404, "RepoNotFound")
        return self._answer_file()

    def do_POST(self):
        path = self._path()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked.get('organization') or OWNER}/{asked['name']}"
            if repo in self.server.repositories:
                return self._send(409, {"url": f"{self.server.address}/{repo}"})
            if not repo.startswith(f"{OWNER}/"):
                return self._refuse(403, "", "no right to create a model under this namespace")
            private = asked.get("private") or asked.get("visibility") == "private"
            self.server.repositories[repo] = Repository(private=bool(private))
            return self._send(200, {"url": f"{self.server.address}/{repo}"})
        if path == "/api/validate-yaml":
            return self._send(200, {"errors": [], "warnings": []})
        repo, _, rest = path.removeprefix("/api/models/").partition("/preupload/")
        if rest and (self._repository(repo) is None or not repo.startswith(f"{OWNER}/")):
            return self._refuse(404, "RepoNotFound")
        if rest:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            return self._send(200, {"files": files})
        repo, _, rest = path.removeprefix("/api/models/").partition("/commit/")
        if rest:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.repositories[repo].files[line["value"]["path"]] = content
            commit = self.server.repositories[repo].commit
            url = f"{self.server.address}/{repo}/commit/{commit}"
            return self._send(200, {"commitUrl": url, "commitOid": commit, "success": True})
        return self._refuse(404, "RepoNotFound")

    def _answer_file(self):
        """`/owner/name/resolve/revision/file`, with the headers that the client caches by."""
        repo, _, rest = self._path()[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        repository = self._repository(repo)
        if repository is None:
            return self._refuse(401 if "Authorization" not in self.headers else 404, "RepoNotFound")
        if repository.gated:
            return self._refuse(403, "GatedRepo")
        if revision not in ("main", repository.commit):
            return self._refuse(404, "RevisionNotFound")
        commit = {"X-Repo-Commit": repository.commit}
        if name not in repository.files:
            return self._refuse(404, "EntryNotFound", headers=commit)
        data = repository.files[name]
        etag = hashlib.sha256(data).hexdigest()
        return self._send(200, data, commit | {"ETag": f'"{etag}"', "Accept-Ranges": "bytes"})

    def _repository(self, repo: str) -> Repository | None:
        """The repository, as far as this request may know that it exists."""
        repository = self.server.repositories.get(repo)
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        return repository if repository and (allowed or not repository.private) else None

    def _path(self) -> str:
        path = urlsplit(self.path).path
        self.server.requests.append(f"{self.command} {path}")
        return path

    def _refuse(self, status: int, code: str, message: str = "", headers: dict | None = None):
        named = {"X-Error-Code": code} if code else {}
        if message:
            named["X-Error-Message"] = message
        self._send(status, {"error": message or code}, named | (headers or {}))

    def _send(self, status: int, body: dict | bytes, headers: dict | None = None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_):
        """Keep the tests' output quiet."""
