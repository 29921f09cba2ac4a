"""A read-only Hub on the loopback: enough of the protocol for the real clients to open models, adapters and tokenizers by id."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


COMMIT = "0" * 39 + "1"


@contextmanager
def loopback_hub(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve `root/<owner>/<name>/` as model repositories.

    Yields:
        The endpoint, and the list of requests as they come in.
    """
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            requests.append(f"{self.command} {self.path}")
            path = self.path.split("?")[0].strip("/")
            if "/resolve/" in path:
                repository, _, rest = path.partition("/resolve/")
                self._file(root / repository / rest.partition("/")[2], body)
            elif path.startswith("api/models/") and "/tree/" in path:
                self._missing()  # no folder of chat templates
            elif path.startswith("api/models/"):
                name = "/".join(path.split("/")[2:4])
                files = [{"rfilename": file.name} for file in (root / name).glob("*")]
                self._send(json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode(), body, {})
            else:
                self._missing()

        def _file(self, file: Path, body: bool) -> None:
            if not file.is_file():
                return self._missing()
            data = file.read_bytes()
            self._send(data, body, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

        def _missing(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, data: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
