"""A Hub on the loopback, on disk: enough of the protocol for the real clients to create, upload, commit, read and list.

It speaks what `huggingface_hub` 2.4 and `evaluate` 0.4 were seen to ask for, and can be told to misbehave. It does not know Xet: its users
set HF_HUB_DISABLE_XET=1, after which large files go over Git LFS.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import yaml


LFS_SUFFIXES = (".safetensors", ".png", ".bin", ".onnx")
KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    body: bytes
    authorization: str | None


@dataclass
class Fault:
    """A misbehaviour: the next `times` requests whose method and path match get `status`, or lose the line, or wait.

    Attributes:
        kind: "status", "reset" (before anything is done), "reset after" (done, but the answer is cut) or "slow".
    """

    match: str
    kind: str
    times: int = 1
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Repository:
    """Commits, references and blobs of one repository, under one folder."""

    def __init__(self, folder: Path, kind: str, name: str):
        self.folder, self.kind, self.name = folder, kind, name
        self.private, self.sdk, self.prs = False, None, 0
        self.commits: dict[str, dict] = {}
        self.refs: dict[str, str] = {}
        (folder / "blobs").mkdir(parents=True, exist_ok=True)
        self.commit({}, "initial commit")

    def commit(
        self, changes: dict[str, bytes | None], message: str, ref: str = "main", parent: str | None = None
    ) -> str:
        """Apply changes (None deletes) to the head of a reference."""
        base = parent or self.refs.get(ref)
        files = dict(self.commits[base]["files"]) if base else {}
        for path, data in changes.items():
            if data is None:
                files.pop(path, None)
            else:
                digest = hashlib.sha256(data).hexdigest()
                (self.folder / "blobs" / digest).write_bytes(data)
                files[path] = digest
        record = {"files": files, "message": message, "parent": base, "number": len(self.commits)}
        sha = hashlib.sha1(json.dumps([self.name, record], sort_keys=True).encode()).hexdigest()
        (self.folder / f"{sha}.json").write_text(json.dumps(record))
        self.commits[sha] = record
        self.refs[ref] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def read(self, path: str, revision: str = "main") -> bytes | None:
        sha = self.resolve(revision)
        digest = self.commits[sha]["files"].get(path) if sha else None
        return None if digest is None else (self.folder / "blobs" / digest).read_bytes()

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Everything of a revision."""
        sha = self.resolve(revision)
        assert sha is not None
        return {
            path: (self.folder / "blobs" / digest).read_bytes() for path, digest in self.commits[sha]["files"].items()
        }

    @property
    def messages(self) -> list[str]:
        """Of the main branch, newest first."""
        found, sha = [], self.refs["main"]
        while sha:
            found.append(self.commits[sha]["message"])
            sha = self.commits[sha]["parent"]
        return found


class LoopbackHub:
    """The server's memory and its switches.

    Attributes:
        endpoint: Its address.
        requests: All that came in.
        faults: What to do wrong, in order.
        tokens: Who may write; None: anyone.
    """

    def __init__(self, root: Path):
        self.root, self.endpoint = root, ""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.tokens: set[str] | None = None
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs = root / "lfs"
        self.lfs.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()

    def repository(self, name: str, kind: str = "model") -> Repository:
        return self.repositories[kind, name]

    def create(self, name: str, kind: str = "model") -> Repository:
        with self.lock:
            found = Repository(self.root / kind / name, kind, name)
            self.repositories[kind, name] = found
            return found

    def add(self, name: str, folder: Path | dict[str, bytes], kind: str = "model") -> Repository:
        """A repository with files."""
        if isinstance(folder, Path):
            folder = {
                path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
            }
        repository = self.create(name, kind)
        repository.commit(folder, "files")
        return repository

    def fail(self, match: str, kind: str = "status", **options) -> None:
        self.faults.append(Fault(match, kind, **options))

    def fault(self, line: str, kinds: tuple[str, ...]) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.kind in kinds and re.search(fault.match, line):
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LoopbackHub

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = self._chunks()
        line = f"{self.command} {self.path}"
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, self.path, body, self.headers.get("Authorization")))
        if slow := self.hub.fault(line, ("slow",)):
            time.sleep(slow.seconds)
        if self.hub.fault(line, ("reset",)):
            return self._cut()
        if fault := self.hub.fault(line, ("status",)):
            return self._json({"error": "told to"}, fault.status, fault.headers)
        self.cut_answer = self.hub.fault(line, ("reset after",)) is not None
        address = urlsplit(self.path)
        try:
            self._route(unquote(address.path).strip("/"), parse_qs(address.query), body)
        except (KeyError, ValueError) as error:
            self._json({"error": repr(error)}, 400)

    def _chunks(self) -> bytes:
        data = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def _cut(self) -> None:
        """A reset, as from a line that fell."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        # Uploads go to addresses that are signed; they carry no token.
        writes = self.command == "POST" and path != "api/validate-yaml"
        if writes and self.hub.tokens is not None and not self._known():
            return self._json({"error": "Invalid credentials"}, 401)
        if path == "api/repos/create":
            return self._create(json.loads(body))
        if path == "api/validate-yaml":
            return self._validate(json.loads(body))
        if path == "api/whoami-v2":
            return self._json({"type": "user", "name": "me", "orgs": []}, 200 if self._known() else 401)
        if path.startswith("lfs-objects/"):
            (self.hub.lfs / path.split("/")[1]).write_bytes(body)
            return self._json({})
        if match := re.fullmatch(r"((?:datasets|spaces)/)?(.+)\.git/info/lfs/objects/batch", path):
            return self._lfs_batch(json.loads(body))
        if match := re.fullmatch(r"api/(models|datasets|spaces)/([^/]+/[^/]+)(?:/(.*))?", path):
            return self._api(KINDS[match[1]], match[2], match[3] or "", query, body)
        if match := re.fullmatch(r"(?:(datasets|spaces)/)?([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            return self._file(KINDS[match[1] or "models"], match[2], match[3], match[4])
        self._json({"error": "unknown address"}, 404)

    def _known(self) -> bool:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        return bool(token) and (self.hub.tokens is None or token in self.hub.tokens)

    def _create(self, data: dict) -> None:
        kind, owner = data.get("type", "model"), data.get("organization") or "me"
        name = f"{owner}/{data['name']}"
        prefix = "" if kind == "model" else f"{kind}s/"
        with self.hub.lock:
            exists = (kind, name) in self.hub.repositories
            if not exists:
                made = self.hub.create(name, kind)
                made.private = bool(data.get("private")) or data.get("visibility") == "private"
                made.sdk = data.get("sdk")
        self._json({"url": f"{self.hub.endpoint}/{prefix}{name}", "name": name}, 409 if exists else 200)

    def _validate(self, data: dict) -> None:
        errors = []
        block = re.match(r"^\s*---\r?\n([\S\s]*?)\r?\n---", data["content"])
        try:
            front = yaml.safe_load(block[1]) if block else {}
            for entry in front.get("model-index") or []:
                for result in entry["results"]:
                    if not {"task", "dataset", "metrics"} <= set(result) or not {"name", "type"} <= set(
                        result["dataset"]
                    ):
                        errors.append({"message": "model-index: task, dataset and metrics are needed"})
            for name in [front.get("base_model") or "a/b", *(front.get("datasets") or [])]:
                if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
                    errors.append({"message": f"not an id: {name}"})
        except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            errors.append({"message": f"bad metadata: {error}"})
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _lfs_batch(self, data: dict) -> None:
        objects = []
        for item in data["objects"]:
            there = (self.hub.lfs / item["oid"]).is_file()
            actions = (
                {} if there else {"actions": {"upload": {"href": f"{self.hub.endpoint}/lfs-objects/{item['oid']}"}}}
            )
            objects.append({"oid": item["oid"], "size": item["size"], **actions})
        self._json({"transfer": "basic", "objects": objects})

    def _api(self, kind: str, name: str, rest: str, query: dict[str, list[str]], body: bytes) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and not self._known()):
            return self._missing("RepoNotFound")
        verb, _, tail = rest.partition("/")
        if verb == "preupload":
            return self._preupload(repository, tail, json.loads(body))
        if verb == "commit":
            return self._commit(repository, tail, body, "create_pr" in query)
        if verb == "tree":
            return self._tree(repository, tail, query.get("recursive", ["false"])[0].lower() == "true")
        sha = repository.resolve(tail or "main") if verb in ("", "revision") else None
        if sha is None:
            return self._missing("RevisionNotFound")
        files = [{"rfilename": path} for path in repository.commits[sha]["files"]]
        self._json(
            {"id": name, "modelId": name, "sha": sha, "siblings": files, "private": repository.private, "tags": []}
        )

    def _preupload(self, repository: Repository, revision: str, data: dict) -> None:
        answer = []
        for item in data["files"]:
            path, old = item["path"], repository.read(item["path"], revision)
            mode = "lfs" if path.endswith(LFS_SUFFIXES) else "regular"
            oid = None
            if old is not None:
                git = hashlib.sha1(b"blob %d\0" % len(old) + old).hexdigest()
                oid = hashlib.sha256(old).hexdigest() if mode == "lfs" else git
            answer.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **({"oid": oid} if oid else {})})
        self._json({"files": answer})

    def _commit(self, repository: Repository, ref: str, body: bytes, create_pr: bool) -> None:
        changes: dict[str, bytes | None] = {}
        header: dict = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                header = value
            elif item["key"] == "file":
                changes[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                blob = self.hub.lfs / value["oid"]
                if not blob.is_file():
                    return self._json({"error": f"LFS object {value['oid']} was never uploaded"}, 400)
                changes[value["path"]] = blob.read_bytes()
            elif item["key"] == "deletedFile":
                changes[value["path"]] = None
        with self.hub.lock:
            parent = header.get("parentCommit")
            if parent and parent != repository.refs[ref] and not create_pr:
                return self._json({"error": "A commit has happened since. Please refresh and try again."}, 412)
            pull = {}
            if create_pr:
                repository.prs += 1
                ref = f"refs/pr/{repository.prs}"
                repository.refs[ref] = parent or repository.refs["main"]
                pull = {"pullRequestUrl": f"{self.hub.endpoint}/{repository.name}/discussions/{repository.prs}"}
            sha = repository.commit(changes, header["summary"], ref)
        url = f"{self.hub.endpoint}/{repository.name}/commit/{sha}"
        self._json({"success": True, "commitOid": sha, "commitUrl": url, **pull})

    def _tree(self, repository: Repository, tail: str, recursive: bool) -> None:
        revision, _, folder = tail.partition("/")
        sha = repository.resolve(revision)
        if sha is None:
            return self._missing("RevisionNotFound")
        start = f"{folder}/" if folder else ""
        found = [path for path in repository.commits[sha]["files"] if path.startswith(start)]
        if folder and not found:
            return self._missing("EntryNotFound")
        folders = {
            f"{start}{'/'.join(parts[: depth + 1])}"
            for parts in (path.removeprefix(start).split("/")[:-1] for path in found)
            for depth in range(len(parts) if recursive else min(1, len(parts)))
        }
        if not recursive:
            found = [path for path in found if "/" not in path.removeprefix(start)]
        entries = [
            {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
            for path in sorted(folders)
        ]
        for path in found:
            data = repository.read(path, sha) or b""
            lfs = {"lfs": {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
            oid = hashlib.sha1(data).hexdigest()
            extra = lfs if path.endswith(LFS_SUFFIXES) else {}
            entries.append({"type": "file", "path": path, "size": len(data), "oid": oid, **extra})
        self._json(entries)

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repository = self.hub.repositories.get((kind, name))
        if repository is None or (repository.private and not self._known()):
            return self._missing("RepoNotFound")
        sha = repository.resolve(revision)
        if sha is None:
            return self._missing("RevisionNotFound")
        data = repository.read(path, sha)
        if data is None:
            return self._missing("EntryNotFound", {"X-Repo-Commit": sha})
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": sha}
        if path.endswith(LFS_SUFFIXES):
            headers |= {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        self._send(data, 200, {**headers, "Content-Type": "application/octet-stream"})

    def _missing(self, code: str, headers: dict[str, str] | None = None) -> None:
        self._json({"error": code}, 404, {"X-Error-Code": code, **(headers or {})})

    def _json(self, data: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        if getattr(self, "cut_answer", False):
            self.cut_answer = False
            return self._cut()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def loopback_hub(root: Path) -> Iterator[LoopbackHub]:
    """A running Hub that keeps its repositories under `root`."""
    hub = LoopbackHub(root)
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
