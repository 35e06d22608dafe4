"""Scripts and styles: compressed, kept by the browser, and never old."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from flask import Flask, render_template_string, url_for
from flask.testing import FlaskClient

from webapp import statics


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "js").mkdir()
    (tmp_path / "js" / "page.js").write_text("const one = 1;\n" * 200)
    (tmp_path / "dot.png").write_bytes(os.urandom(64))
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Flask:
    made = Flask(__name__, static_folder=None)
    statics.register(made, folder)
    return made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def address(app: Flask, name: str) -> str:
    with app.test_request_context():
        return url_for("static", filename=name)


def test_a_script_comes_compressed_and_is_kept_for_good(
    app: Flask, client: FlaskClient, folder: Path
) -> None:
    where = address(app, "js/page.js")
    assert re.fullmatch(r"/static/v[0-9a-f]{12}/js/page\.js", where)
    answer = client.get(where, headers={"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(answer.data) == (folder / "js" / "page.js").read_bytes()
    assert len(answer.data) < 200
    assert str(answer.mimetype).endswith("/javascript")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Vary"] == "Accept-Encoding"


def test_who_takes_no_compression_gets_none(app: Flask, client: FlaskClient, folder: Path) -> None:
    answer = client.get(address(app, "js/page.js"))
    assert "Content-Encoding" not in answer.headers
    assert answer.data == (folder / "js" / "page.js").read_bytes()


def test_what_does_not_get_smaller_is_sent_as_it_is(app: Flask, client: FlaskClient) -> None:
    answer = client.get(address(app, "dot.png"), headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in answer.headers
    assert len(answer.data) == 64


def test_a_changed_file_has_a_new_address_and_a_new_content(
    app: Flask, client: FlaskClient, folder: Path
) -> None:
    before = address(app, "js/page.js")
    client.get(before)
    (folder / "js" / "page.js").write_text("const two = 2;\n")
    after = address(app, "js/page.js")
    assert after != before
    assert client.get(after).data == b"const two = 2;\n"
    old = client.get(before)
    assert (old.data, old.headers["Cache-Control"]) == (b"const two = 2;\n", "no-cache")


def test_without_a_version_the_browser_asks_again(client: FlaskClient) -> None:
    first = client.get("/static/js/page.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/static/js/page.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../secret", "js", "%2e%2e/secret", "js/../../x"])
def test_nothing_else_is_served(client: FlaskClient, folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("secret")
    assert client.get(f"/static/{name}").status_code == 404


def test_a_module_is_asked_for_together_with_all_that_it_imports(app: Flask, folder: Path) -> None:
    (folder / "vendor").mkdir()
    (folder / "vendor" / "io.esm.js").write_text("export const io = 1;")
    (folder / "js" / "run.js").write_text(
        'import { a, b } from "./a.js";\nimport "./page.js";\nconst other = "./no.js";\n'
    )
    (folder / "js" / "a.js").write_text(
        'import { io } from "../vendor/io.esm.js";\nexport { one } from "./run.js";\n'
    )
    with app.test_request_context():
        version = url_for("static", filename="js").removesuffix("/js")
        written = render_template_string('{{ module("js/run.js") }}\n{{ module("js/a.js") }}')
    assert written.splitlines() == [
        f'<link rel="modulepreload" fetchpriority="low" href="{version}/js/a.js">',
        f'<link rel="modulepreload" fetchpriority="low" href="{version}/js/page.js">',
        f'<link rel="modulepreload" fetchpriority="low" href="{version}/vendor/io.esm.js">',
        f'<script type="module" fetchpriority="low" src="{version}/js/run.js"></script>',
        f'<link rel="modulepreload" fetchpriority="low" href="{version}/js/run.js">',
        f'<script type="module" fetchpriority="low" src="{version}/js/a.js"></script>',
    ]
