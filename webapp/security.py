"""Who may talk to the dashboard, decided before any route, event or file is looked at.

Four lines of defence, each for an attack that others met:

* **Host.** Only the exact names under which this server is reached are answered. A page that
  points its own domain at 127.0.0.1 (DNS rebinding) sends that domain as Host and gets nothing.
* **Origin.** What another site's page sends is refused: by ``Origin`` and ``Sec-Fetch-Site`` on
  every change and on every live connection. The lists are explicit; nothing is a pattern.
* **Token against forged forms.** A form needs a signed token that stands in the page and in a
  cookie. Programs need none: they send JSON or nothing, which no foreign page can do without an
  Origin that gives it away.
* **Access token.** A server that listens beyond loopback answers nobody without its token.

The first, the last and the live connection's Origin are checked in WSGI, outside Flask *and*
Socket.IO, so no route, method or transport escapes them.

A websocket handshake without an Origin comes from no browser (all of them send it), so scripts
may leave it out, but not together with a cookie or a ``Sec-Fetch-*`` header, which scripts do
not send.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode

import msgspec
from flask import Flask, Response, current_app, g, request
from itsdangerous import BadSignature, URLSafeSerializer
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import dump_cookie, parse_cookie
from werkzeug.wrappers import Response as PlainResponse

from trainer.errors import TrainerError, UsageError
from webapp.errors import (
    ForbiddenError,
    MediaTypeError,
    UnauthorizedError,
    for_programs,
    refusal_for,
    title_of,
)
from webapp.openai.refusals import is_openai
from webapp.plainpage import STYLE_HASH, plain_page

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
HTMX_URL = "https://cdn.jsdelivr.net/npm/htmx.org@2.0.11/dist/htmx.min.js"
MAX_BODY_BYTES = 1024 * 1024
MAX_PROMPT_BODY_BYTES = 16 * 1024 * 1024
"""Of a request that brings prompts; those that are too long are told as such."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SOCKET_PATH = "/socket.io/"
CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"

_OWN_SITES = frozenset({"same-origin", "none"})
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True)
class Policy:
    """Which names the server answers to, and which token it asks for.

    Args:
        names: host names and addresses without a port; the port is the one really served.
        extra_hosts: what ``--allow-host`` named, with a port or (the one really served) without.
        access_token: needed for everything when it is set.
    """

    names: frozenset[str] = LOOPBACK_NAMES
    extra_hosts: tuple[str, ...] = ()
    access_token: str | None = None

    def hosts(self, port: str) -> frozenset[str]:
        """Return every Host header that is answered.

        Some programs leave the port out, which no browser does unless it is 80. Names without
        one are as safe: what matters is that a foreign domain is not among them.
        """
        whole = {name for name in self.extra_hosts if _has_port(name)}
        bare = self.names | (frozenset(self.extra_hosts) - whole)
        return frozenset(whole | bare | {f"{name}:{port}" for name in bare})

    def origins(self, port: str) -> frozenset[str]:
        """Return every Origin that counts as the dashboard's own."""
        bare = {host for host in self.names if port != "80"}
        plain = {f"http://{host}" for host in self.hosts(port) - bare}
        # A proxy in front may add TLS, and serve on a port of its own.
        return frozenset(plain | {f"https://{host}" for host in self.extra_hosts})


def _has_port(host: str) -> bool:
    return re.search(r":[0-9]+$", host) is not None and not host.endswith("]")


def checked_hosts(names: Iterable[str]) -> tuple[str, ...]:
    """Read the values of ``--allow-host``.

    Raises:
        UsageError: one is not an exact host name or address.
    """
    lowered = tuple(name.strip().lower() for name in names)
    for name in lowered:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"'{name[:80]}' is not a host name.",
                "Give exact names such as gpu-box or gpu-box.lan:9000; patterns are not allowed.",
            )
    return lowered


# ---------------------------------------------------------------------- outside the frameworks


class Gatekeeper:
    """The outermost WSGI application: refuses strangers and puts safe headers on every answer."""

    def __init__(self, application: WSGIApplication, policy: Policy) -> None:
        self._application = application
        self._policy = policy

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        respond = _with_headers(environ, start_response, self._policy)
        try:
            check_host(environ, self._policy)
            entrance = admit(environ, self._policy)
            check_socket_origin(environ, self._policy)
        except TrainerError as refusal:
            return _refusal(environ, refusal)(environ, respond)
        if entrance is not None:
            return entrance(environ, respond)
        return self._application(environ, respond)


def check_host(environ: WSGIEnvironment, policy: Policy) -> None:
    """Answer to exact names alone.

    Raises:
        ForbiddenError: the Host header is missing, given twice, or another.
    """
    host = environ.get("HTTP_HOST", "").lower()
    if host not in policy.hosts(environ["SERVER_PORT"]):
        shown = host[:80] if host.isprintable() else ""
        raise ForbiddenError(
            f"The dashboard does not answer to the name '{shown}'.",
            f"Open it under http://127.0.0.1:{environ['SERVER_PORT']}, or start it with "
            "--allow-host and the exact name and port that you use.",
        )


def check_socket_origin(environ: WSGIEnvironment, policy: Policy) -> None:
    """Let only the dashboard's own pages, and scripts, open a live connection.

    Raises:
        ForbiddenError: the request may come from another site's page.
    """
    if not environ["PATH_INFO"].startswith(SOCKET_PATH.rstrip("/")):
        return
    origin = environ.get("HTTP_ORIGIN")
    refuse_foreign(origin, environ.get("HTTP_SEC_FETCH_SITE"), _own_origins(environ, policy))
    upgrade = "websocket" in environ.get("HTTP_UPGRADE", "").lower()
    from_browser = "HTTP_COOKIE" in environ or "HTTP_SEC_FETCH_MODE" in environ
    if upgrade and origin is None and from_browser:
        raise ForbiddenError("A browser's websocket must say where it comes from (Origin).")


def refuse_foreign(origin: str | None, fetch_site: str | None, own: frozenset[str]) -> None:
    """Refuse what a browser marks as sent by another site.

    Raises:
        ForbiddenError: Origin is not one of the dashboard's, or Sec-Fetch-Site says another site.
    """
    if origin is not None and origin not in own:
        raise ForbiddenError(
            f"The request comes from another site ({origin[:80]}).", "Use the dashboard's own page."
        )
    if fetch_site is not None and fetch_site not in _OWN_SITES:
        raise ForbiddenError(
            "The request comes from another site.", "Use the dashboard's own page."
        )


def _own_origins(environ: WSGIEnvironment, policy: Policy) -> frozenset[str]:
    return policy.origins(environ["SERVER_PORT"])


def admit(environ: WSGIEnvironment, policy: Policy) -> PlainResponse | None:
    """Ask for the access token where one is set.

    Returns:
        None to go on, or a redirect that turns the token in the address into a cookie.

    Raises:
        UnauthorizedError: there is no token, or another.
    """
    token = policy.access_token
    if token is None:
        return None
    query = parse_qs(environ.get("QUERY_STRING", ""))
    if _same(query.get("token", [""])[0], token):
        return _entrance(environ, query, token)
    given = (_bearer(environ), parse_cookie(environ).get(_access_cookie(environ), ""))
    if not any(_same(candidate, token) for candidate in given):
        raise UnauthorizedError(
            "That is not the token of this dashboard."
            if "token" in query
            else "This dashboard is open to the network and asks for its token.",
            "Open the address that was printed when it was started; programs send the header "
            "Authorization: Bearer TOKEN.",
        )
    return None


def _entrance(
    environ: WSGIEnvironment, query: dict[str, list[str]], token: str
) -> PlainResponse | None:
    path = environ["PATH_INFO"]
    if for_programs(path) or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return None
    rest = urlencode({name: values for name, values in query.items() if name != "token"}, True)
    # One leading slash: '//host' would lead away.
    target = "/" + path.lstrip("/\\") + (f"?{rest}" if rest else "")
    cookie = dump_cookie(_access_cookie(environ), token, httponly=True, samesite="Strict")
    return PlainResponse(status=303, headers=[("Location", target), ("Set-Cookie", cookie)])


def _bearer(environ: WSGIEnvironment) -> str:
    scheme, _, value = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _access_cookie(environ: WSGIEnvironment) -> str:
    # Cookies do not tell ports apart, and two dashboards may run on one machine.
    return f"llm_trainer_access_{environ['SERVER_PORT']}"


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _refusal(environ: WSGIEnvironment, error: TrainerError) -> PlainResponse:
    if for_programs(environ["PATH_INFO"]):
        body, headers = refusal_for(environ["PATH_INFO"], error)
        data = msgspec.json.encode(body)
        return PlainResponse(data, error.http_status, headers, mimetype="application/json")
    page = plain_page(
        error,
        title=title_of(error.http_status),
        ask_for_token=isinstance(error, UnauthorizedError),
    )
    return PlainResponse(page, error.http_status, mimetype="text/html")


def _with_headers(
    environ: WSGIEnvironment, start_response: StartResponse, policy: Policy
) -> StartResponse:
    host = environ.get("HTTP_HOST", "").lower()
    # A name that is refused is not echoed.
    own_host = host if host in policy.hosts(environ["SERVER_PORT"]) else ""
    safe = safe_headers(environ["PATH_INFO"], own_host)

    def respond(
        status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        there = {name.lower() for name, _ in headers}
        added = [pair for pair in safe if pair[0].lower() not in there]
        return start_response(status, headers + added, exc_info)

    return respond


def safe_headers(path: str, host: str) -> list[tuple[str, str]]:
    """Return the headers that every answer carries."""
    headers = [
        ("Content-Security-Policy", content_security_policy(host)),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), microphone=(), geolocation=()"),
    ]
    if not path.startswith("/static/"):
        headers.append(("Cache-Control", "no-store" if for_programs(path) else "no-cache"))
    return headers


def content_security_policy(host: str) -> str:
    """Allow the dashboard's own files, its one script from a CDN, and its live connection."""
    # Older browsers do not count a websocket as 'self'.
    live = f" ws://{host} wss://{host}" if host else ""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {HTMX_URL}",
            f"style-src 'self' '{STYLE_HASH}'",
            "img-src 'self' data:",
            f"connect-src 'self'{live}",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    )


# ---------------------------------------------------------------------- inside Flask: changes


def protect_changes(app: Flask, policy: Policy) -> None:
    """Check every request that may change something, whatever its route, even where none is."""

    @app.before_request
    def check_change() -> None:
        most = MAX_PROMPT_BODY_BYTES if is_openai(request.path) else MAX_BODY_BYTES
        request.max_content_length = most
        if request.content_length is not None and request.content_length > most:
            raise RequestEntityTooLarge
        if request.method in SAFE_METHODS:
            return
        own = _own_origins(request.environ, policy)
        refuse_foreign(request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site"), own)
        if is_openai(request.path):
            refuse_form()
        elif not (sent_by_program() or has_csrf_token()):
            raise ForbiddenError(
                "The form's token is missing or old.",
                "Reload the page and send it again; programs send JSON with the header "
                "Content-Type: application/json.",
            )

    @app.after_request
    def keep_csrf_cookie(response: Response) -> Response:
        token = g.get("new_csrf_token")
        if token is not None:
            response.set_cookie(_csrf_cookie(), token, httponly=True, samesite="Strict")
        return response

    app.jinja_env.globals["csrf_token"] = csrf_token


def sent_by_program() -> bool:
    """Say whether the request is one that no foreign page can make unnoticed.

    A form always declares one of three types, and JSON is none of them: to send JSON across
    sites a browser asks the server first (a CORS preflight, which is never granted here). What
    declares no type at all comes from a script, or from a fetch, which says its Origin.
    """
    return request.mimetype in ("", "application/json")


def refuse_form() -> None:
    """Let only a program post where no page of the dashboard does.

    Raises:
        MediaTypeError: the request is one that a foreign page's form could send.
    """
    if not sent_by_program():
        raise MediaTypeError(
            f"The body is '{request.mimetype[:80]}', not JSON.",
            "Send JSON with the header Content-Type: application/json.",
        )


def csrf_token() -> str:
    """Return the token for the forms and scripts of the page being made; sets its cookie.

    Put it in a hidden field ``csrf_token``, or send it as the header ``X-CSRF-Token``.
    """
    known = request.cookies.get(_csrf_cookie())
    if known is not None and _is_signed(known):
        return known
    if "new_csrf_token" not in g:
        g.new_csrf_token = str(_signer().dumps(secrets.token_urlsafe(18)))
    return str(g.new_csrf_token)


def has_csrf_token() -> bool:
    """Say whether the token in the form or header is signed here and equals the cookie."""
    given = request.headers.get(CSRF_HEADER) or request.form.get(CSRF_FIELD) or ""
    cookie = request.cookies.get(_csrf_cookie(), "")
    return _same(given, cookie) and _is_signed(given)


def _is_signed(token: str) -> bool:
    try:
        _signer().loads(token)
    except BadSignature:
        return False
    return True


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.secret_key or "", salt="csrf")


def _csrf_cookie() -> str:
    return f"llm_trainer_csrf_{request.environ['SERVER_PORT']}"


def allowed_names(addresses: Sequence[str]) -> frozenset[str]:
    """Return the names of a server that listens on these addresses, loopback always among them."""
    return LOOPBACK_NAMES | {f"[{a}]" if ":" in a else a.lower() for a in addresses}
