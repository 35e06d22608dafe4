"""The scripts of the pages: their pure parts run in Node, and the vendored ones as they came."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from trainer.assets import asset_dir
from webapp.pages.templating import HTMX_INTEGRITY
from webapp.security import HTMX_URL
from webapp.statics import StaticFiles

SCRIPTS = Path(__file__).with_name("scripts")
CASES = Path(__file__).parents[1] / "formats_cases.json"
STATIC = asset_dir("static")


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """The scripts where Node takes them for modules."""
    shutil.copytree(STATIC / "js", tmp_path / "js")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    return tmp_path


PURE = ("charts", "formats", "log", "machine", "prompts", "series", "tab", "themes", "tokens")


@pytest.mark.parametrize("script", [f"{name}.mjs" for name in PURE])
def test_pure_scripts(modules: Path, script: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node here to run the scripts with")
    copied = shutil.copy(SCRIPTS / script, modules)
    result = subprocess.run(
        [node, copied, str(CASES)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def integrity(path: Path) -> str:
    digest = hashlib.sha384(path.read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


def test_vendored_files_are_as_their_list_says() -> None:
    listed = dict(
        re.findall(r"^\| `([^`]+)` .*`(sha384-[^`]+)` \|$", _vendored("README.md"), re.MULTILINE)
    )
    found = {
        path.name: integrity(path)
        for path in (STATIC / "vendor").iterdir()
        if path.suffix in (".js", ".css")
    }
    assert found == listed


def _vendored(name: str) -> str:
    return (STATIC / "vendor" / name).read_text()


def test_the_cdn_may_only_serve_the_vendored_htmx() -> None:
    assert integrity(STATIC / "vendor" / "htmx.min.js") == HTMX_INTEGRITY
    assert HTMX_URL in _vendored("README.md")


@pytest.mark.parametrize("path", sorted((STATIC / "js").glob("*.js")), ids=lambda path: path.name)
def test_scripts_keep_to_the_content_security_policy(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\beval\(|new Function\(|setAttribute\(\"style\"|\.cssText", text)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


NAMED_IN_A_PAGE = re.compile(r"""(?:module\("|filename=')([^"']+\.(?:js|css))["']""")
PAGES = sorted(path.name for path in asset_dir("templates").glob("[!_]*.html"))


@pytest.mark.parametrize("page", PAGES)
def test_the_first_visit_to_a_page_is_light(page: str) -> None:
    """All scripts and styles of a page and what they import, compressed: under 150 KB."""
    files = StaticFiles(STATIC)
    named = {name for one in ("base.html", page) for name in _named_in(one)}
    loaded = named | {module for name in named for module in files.modules_of(name)}
    assert "css/app.css" in loaded
    assert sum(_weight(files, name) for name in loaded) < 150_000


def _named_in(page: str) -> list[str]:
    return NAMED_IN_A_PAGE.findall((asset_dir("templates") / page).read_text())


def _weight(files: StaticFiles, name: str) -> int:
    file = files.find(name)
    assert file is not None, name
    return len(file.compressed or file.content)
