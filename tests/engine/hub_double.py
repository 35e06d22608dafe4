"""A stand-in for the Hugging Face hub: the few answers of its web interface that a download needs.

It serves the files of a folder as the dataset ``acme/tales``, over real HTTP, from a thread.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "a" * 40


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve ``folder`` and yield the address for ``HF_ENDPOINT``."""

    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: dict[str, Path]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._send({})
        elif wanted := re.fullmatch(r"/datasets/acme/tales/resolve/\w+/(.+)", path):
            self._send_file(wanted[1])
        elif re.fullmatch(r"/api/datasets/acme/tales(/revision/\w+)?", path):
            names = [{"rfilename": name} for name in self.files]
            self._send({"id": "acme/tales", "sha": COMMIT, "siblings": names})
        elif re.fullmatch(r"/api/datasets/acme/tales/tree/\w+", path):
            self._send([self._entry(name) for name in self.files])
        else:
            self._refuse("RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _entry(self, name: str) -> dict[str, Any]:
        size = self.files[name].stat().st_size
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40}

    def _send_file(self, name: str) -> None:
        if name not in self.files:
            self._refuse("EntryNotFound")
            return
        content = self.files[name].read_bytes()
        tag = hashlib.sha256(content).hexdigest()
        self._answer(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def _send(self, answer: Any) -> None:
        self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code: str) -> None:
        self._answer(404, b"", {"X-Error-Code": code, "X-Repo-Commit": COMMIT})

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
