"""Who may talk to the dashboard: names, origins and tokens, for every route there is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from trainer.errors import UsageError
from webapp import create_app
from webapp.plainpage import STYLE_HASH
from webapp.security import HTMX_URL, LOOPBACK_NAMES, Policy, checked_hosts

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
PARAMETERS = {"string": "20260102-030405-abcd", "path": "css/tokens.css"}
POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


def every_path(app: Flask) -> list[str]:
    """One address for each route of the table, and some that are in no table."""
    paths = {re.sub(r"<(?:(\w+):)?\w+>", _example, str(rule)) for rule in app.url_map.iter_rules()}
    assert len(paths) > 30
    return sorted({*paths, "/nothing"})


def _example(parameter: re.Match[str]) -> str:
    return PARAMETERS[parameter[1] or "string"]


# ---------------------------------------------------------------------- Host


def test_no_route_answers_to_a_foreign_name(app: Flask, web: FlaskClient) -> None:
    headers = {"Host": "rebound.example:80"}
    answered = [
        (method, path)
        for path in [*every_path(app), POLLING, WEBSOCKET]
        for method in ("GET", "HEAD", "OPTIONS", *UNSAFE)
        if web.open(path, method=method, headers=headers).status_code != 403
    ]
    assert answered == []


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost:8001",
        "localhost:",
        "localhost.",
        "localhost:8000,evil.example",
        "localhost:8000@evil.example",
        "10.0.0.1",
        "[::1",
        "local host",
        "<script>",
    ],
)
def test_only_exact_names_are_answered(web: FlaskClient, host: str) -> None:
    answer = web.get("/", base_url="http://localhost:8000", headers={"Host": host})
    assert answer.status_code == 403
    assert "<script>" not in answer.text
    assert "evil" not in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LocalHost:8000"]
)
def test_loopback_names_are_answered_with_the_port_that_is_served(
    web: FlaskClient, host: str
) -> None:
    answer = web.get("/healthz", base_url="http://localhost:8000", headers={"Host": host})
    assert answer.status_code == 200


def test_a_request_without_a_host_is_refused(app: Flask) -> None:
    environ = app.test_request_context("/healthz").request.environ
    del environ["HTTP_HOST"]
    statuses: list[str] = []

    def start_response(status: str, *_: Any) -> Callable[[bytes], None]:
        statuses.append(status)
        return lambda _: None

    app.wsgi_app(environ, start_response)
    assert statuses == ["403 FORBIDDEN"]


def test_names_are_added_exactly(home: Path) -> None:
    policy = Policy(extra_hosts=checked_hosts(["GPU-box", "tunnel.lan:9000"]))
    web = create_app(home, policy=policy).test_client()
    answers = {
        host: web.get("/healthz", base_url="http://x:8000", headers={"Host": host}).status_code
        for host in (
            "gpu-box:8000",
            "tunnel.lan:9000",
            "gpu-box:9000",
            "tunnel.lan:8000",
            "xgpu-box",
        )
    }
    assert answers == {
        "gpu-box:8000": 200,
        "tunnel.lan:9000": 200,
        "gpu-box:9000": 403,
        "tunnel.lan:8000": 403,
        "xgpu-box": 403,
    }


@pytest.mark.parametrize("name", ["*", "10.*", ".lan", "a b", "a/b", "http://a", "a:b", ""])
def test_patterns_are_no_names(name: str) -> None:
    with pytest.raises(UsageError, match="is not a host name"):
        checked_hosts([name])


def test_origins_are_those_of_the_names() -> None:
    policy = Policy(extra_hosts=("box", "tunnel.lan:9000"))
    own = {f"http://{name}:8000" for name in LOOPBACK_NAMES}
    assert policy.origins("8000") >= own | {"http://box:8000", "https://tunnel.lan:9000"}
    assert "http://localhost" not in policy.origins("8000")
    assert "http://localhost" in policy.origins("80")


# ---------------------------------------------------------------------- changes


FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]
FORM_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_route_can_be_changed_by_another_site(
    app: Flask, web: FlaskClient, headers: dict[str, str]
) -> None:
    """Whatever it sends, and even with a token, it is given away."""
    bodies: list[dict[str, Any]] = [{}, {"json": {}}, {"data": {"csrf_token": form_token(web)}}]
    let_through = [
        (method, path, body)
        for path in every_path(app)
        for method in UNSAFE
        for body in bodies
        if web.open(path, method=method, headers=headers, **body).status_code != 403
    ]
    assert let_through == []


@pytest.mark.parametrize("kind", FORM_TYPES)
def test_no_route_takes_a_form_without_a_token(app: Flask, web: FlaskClient, kind: str) -> None:
    let_through = [
        (method, path, data)
        for path in every_path(app)
        for method in UNSAFE
        for data in ("", "csrf_token=", "csrf_token=wrong")
        if web.open(path, method=method, data=data, content_type=kind).status_code
        # No form of the dashboard posts there: it is told that JSON is wanted.
        != (415 if path.startswith("/v1/") else 403)
    ]
    assert let_through == []


def form_token(web: FlaskClient) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', web.get("/").text)
    assert found is not None
    return found[1]


def taken(web: FlaskClient, **request: Any) -> bool:
    """Send a form and say whether it was let through to its route."""
    return web.post("/runs/20260102-030405-abcd/stop", **request).status_code != 403


def test_a_form_with_the_token_of_its_page_is_taken(web: FlaskClient) -> None:
    token = form_token(web)
    assert taken(web, data={"csrf_token": token})
    assert taken(web, data={"csrf_token": token}, headers={"Origin": "http://localhost"})
    assert taken(web, data={"a": "b"}, headers={"X-CSRF-Token": token})


def test_a_token_is_worth_nothing_without_its_cookie(app: Flask, web: FlaskClient) -> None:
    assert not taken(app.test_client(), data={"csrf_token": form_token(web)})


def test_a_token_that_was_not_signed_here_is_refused(web: FlaskClient) -> None:
    web.set_cookie("llm_trainer_csrf_80", "forged")
    assert not taken(web, data={"csrf_token": "forged"})


def test_a_page_that_was_open_over_a_restart_still_works(home: Path) -> None:
    key = {"SECRET_KEY": b"kept in the workspace"}
    before, after = (create_app(home, config=key).test_client() for _ in range(2))
    token = form_token(before)
    cookie = before.get_cookie("llm_trainer_csrf_80")
    assert cookie is not None
    after.set_cookie("llm_trainer_csrf_80", cookie.value)
    assert taken(after, data={"csrf_token": token})


@pytest.mark.parametrize(
    "request_", [{"json": {}}, {}, {"json": {}, "headers": {"Origin": "http://localhost"}}]
)
def test_programs_need_no_token(web: FlaskClient, request_: dict[str, Any]) -> None:
    assert web.post("/api/runs/20260102-030405-abcd/stop", **request_).status_code == 404


def test_the_cookie_is_for_this_site_and_no_script(web: FlaskClient) -> None:
    cookie = web.get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


# ---------------------------------------------------------------------- live connections


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Origin": "http://localhost, http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize(("path", "more"), [(POLLING, {}), (WEBSOCKET, UPGRADE)])
def test_another_site_gets_no_live_connection(
    web: FlaskClient, headers: dict[str, str], path: str, more: dict[str, str]
) -> None:
    assert web.get(path, headers=headers | more).status_code == 403
    assert web.post(path, headers=headers | more).status_code == 403


@pytest.mark.parametrize("mark", [{"HTTP_COOKIE": "a=b"}, {"HTTP_SEC_FETCH_MODE": "websocket"}])
def test_a_browser_must_say_where_its_websocket_comes_from(
    app: Flask, mark: dict[str, str]
) -> None:
    web = app.test_client(use_cookies=False)
    answer = web.get(WEBSOCKET, headers=UPGRADE, environ_overrides=mark)
    assert answer.status_code == 403
    assert "Origin" in answer.text


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}, {"Cookie": "a=b"}])
def test_own_pages_and_scripts_may_poll(web: FlaskClient, headers: dict[str, str]) -> None:
    assert web.get(POLLING, headers=headers).status_code == 200


# ---------------------------------------------------------------------- access token


@pytest.fixture
def guarded(home: Path) -> FlaskClient:
    """A client of a dashboard that is open to the network."""
    return create_app(home, policy=Policy(access_token="sesame")).test_client()


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sesam"}])
def test_nothing_is_answered_without_the_access_token(
    app: Flask, guarded: FlaskClient, headers: dict[str, str]
) -> None:
    answered = [
        (method, path)
        for path in [*every_path(app), POLLING, WEBSOCKET]
        for method in ("GET", "HEAD", "OPTIONS", *UNSAFE)
        if guarded.open(path, method=method, headers=headers).status_code != 401
    ]
    assert answered == []


def test_the_token_in_the_address_becomes_a_cookie(guarded: FlaskClient) -> None:
    answer = guarded.get("/?status=active&token=sesame")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?status=active")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Strict" in answer.headers["Set-Cookie"]
    assert guarded.get("/").status_code == 200


def test_a_person_is_asked_for_the_token_and_told_of_a_wrong_one(guarded: FlaskClient) -> None:
    asked, refused = guarded.get("/help"), guarded.get("/help?token=sesam")
    assert "asks for its token" in asked.text
    assert '<input id="token" name="token"' in asked.text
    assert "That is not the token of this dashboard." in refused.text


def test_the_page_for_strangers_may_use_its_one_style(guarded: FlaskClient) -> None:
    page = guarded.get("/").text
    style = page[page.index("<style>") + len("<style>") : page.index("</style>")]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"sha256-{digest}" == STYLE_HASH


def test_the_way_in_leads_nowhere_else(guarded: FlaskClient) -> None:
    path = {"PATH_INFO": "//evil.example/"}
    answer = guarded.get("/?token=sesame", environ_overrides=path)
    assert answer.headers["Location"].startswith("/evil.example/")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_programs_send_the_token_as_a_header(guarded: FlaskClient, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} sesame"}
    assert guarded.get("/api/runs", headers=headers).status_code == 200
    assert guarded.get("/api/runs?token=sesame").status_code == 200


# ---------------------------------------------------------------------- headers


@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/css/tokens.css", "/nothing", POLLING])
def test_every_answer_carries_the_safe_headers(web: FlaskClient, path: str) -> None:
    headers = web.get(path, base_url="http://localhost:8000").headers
    assert headers["Content-Security-Policy"] == (
        f"default-src 'none'; script-src 'self' {HTMX_URL}; style-src 'self' '{STYLE_HASH}'; "
        "img-src 'self' data:; connect-src 'self' ws://localhost:8000 wss://localhost:8000; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers


def test_answers_to_programs_are_not_stored(web: FlaskClient) -> None:
    assert web.get("/api/runs").headers["Cache-Control"] == "no-store"


def test_the_policy_lets_in_the_script_that_the_pages_name(web: FlaskClient) -> None:
    assert f'src="{HTMX_URL}"' in web.get("/").text
