"""Scripts, styles and pictures: compressed once, under addresses that a browser keeps for good.

Their address holds a version that changes with any of the files, so nothing is asked for twice
and nothing old is shown. Modules import each other by relative paths, and so share the version.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, abort, g, request, url_for
from markupsafe import Markup
from werkzeug.security import safe_join

KEPT_FOR_GOOD = "public, max-age=31536000, immutable"
VERSION_LENGTH = 12
_COMPRESSION_LEVEL = 9

_IMPORT = re.compile(rb'^(?:import|export)\b[^";]*"(\.[^"\n]+\.js)"', re.MULTILINE)

Stamp = tuple[int, int]


@dataclass(frozen=True)
class StaticFile:
    """One file in memory; ``compressed`` is None where that would save nothing."""

    stamp: Stamp
    content: bytes
    compressed: bytes | None
    mimetype: str
    etag: str

    @classmethod
    def read(cls, path: Path) -> StaticFile:
        """Read and compress a file.

        Raises:
            OSError: it cannot be read.
        """
        stamp, content = _stamp(path), path.read_bytes()
        compressed = gzip.compress(content, _COMPRESSION_LEVEL, mtime=0)
        return cls(
            stamp=stamp,
            content=content,
            compressed=compressed if len(compressed) < len(content) else None,
            mimetype=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            etag=hashlib.sha256(content).hexdigest()[:VERSION_LENGTH],
        )

    def response(self, *, for_good: bool) -> Response:
        """Answer the request at hand, compressed where the browser takes that."""
        packed = self.compressed if request.accept_encodings["gzip"] else None
        answer = Response(self.content if packed is None else packed, mimetype=self.mimetype)
        if packed is not None:
            answer.content_encoding = "gzip"
        if self.compressed is not None:
            answer.vary.add("Accept-Encoding")
        answer.headers["Cache-Control"] = KEPT_FOR_GOOD if for_good else "no-cache"
        answer.set_etag(self.etag + ("" if packed is None else "-gzip"))
        answer.make_conditional(request)
        return answer


class StaticFiles:
    """The files of one folder, read when they are asked for first, and again when they change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, StaticFile] = {}
        self._reading = threading.Lock()
        self.newest_version = ""
        """What :meth:`version` returned last."""

    def version(self) -> str:
        """Return what changes with any of the files. It looks at each, and opens none."""
        seen = sorted(
            (path.relative_to(self._folder).as_posix(), *_stamp(path))
            for path in self._folder.rglob("*")
            if path.is_file()
        )
        self.newest_version = hashlib.sha256(repr(seen).encode()).hexdigest()[:VERSION_LENGTH]
        return self.newest_version

    def find(self, name: str) -> StaticFile | None:
        """Return a file by its path in the folder, or None when there is none."""
        place = safe_join(str(self._folder), name)
        if place is None:
            return None
        try:
            return self._current(name, Path(place))
        except OSError:
            return None

    def modules_of(self, name: str) -> list[str]:
        """Return what a module imports, directly or by way of others, without itself."""
        found = {name: None}
        for one in (waiting := [name]):
            more = [module for module in self._imports(one) if module not in found]
            found |= dict.fromkeys(more)
            waiting += more
        return list(found)[1:]

    def _imports(self, name: str) -> list[str]:
        file, folder = self.find(name), posixpath.dirname(name)
        places = _IMPORT.findall(file.content) if file else []
        return [posixpath.normpath(posixpath.join(folder, place.decode())) for place in places]

    def _current(self, name: str, path: Path) -> StaticFile:
        known = self._known.get(name)
        if known is not None and known.stamp == _stamp(path):
            return known
        with self._reading:
            self._known[name] = StaticFile.read(path)
            return self._known[name]


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def register(app: Flask, folder: Path) -> None:
    """Serve a folder under ``/static/``; ``url_for("static", filename=…)`` names the version."""
    files = StaticFiles(folder)

    def versioned(version: str, filename: str) -> Response:
        # A page from before an update gets what there is now, and does not keep it. To look at
        # all files again for each of them would take longer than to send it.
        return serve(filename, for_good=version == (files.newest_version or files.version()))

    def plain(filename: str) -> Response:
        return serve(filename, for_good=False)

    def serve(filename: str, *, for_good: bool) -> Response:
        found = files.find(filename)
        if found is None:
            abort(404)
        return found.response(for_good=for_good)

    of_version = f"/static/v<string(length={VERSION_LENGTH}):version>/<path:filename>"
    app.add_url_rule(of_version, "static", versioned)
    app.add_url_rule("/static/<path:filename>", "static_now", plain)

    @app.url_defaults
    def name_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("version", _version_now(files))

    @app.template_global()
    def module(name: str) -> Markup:
        """Write the element of a module; all that it imports is asked for with it, not after it.

        What draws the page goes first: styles have a higher priority.
        """
        asked = g.setdefault("static_modules", set())
        imported = [one for one in files.modules_of(name) if one not in asked]
        asked.update(imported)
        link = Markup('<link rel="modulepreload" fetchpriority="low" href="{}">\n')
        script = Markup('<script type="module" fetchpriority="low" src="{}"></script>')
        links = [link.format(url_for("static", filename=one)) for one in imported]
        return Markup("").join([*links, script.format(url_for("static", filename=name))])


def _version_now(files: StaticFiles) -> str:
    """Return the version, looked up once a request."""
    if "static_version" not in g:
        g.static_version = files.version()
    return str(g.static_version)
