"""A page that needs neither templates nor files: what a stranger, or a broken dashboard, shows."""

from __future__ import annotations

import base64
import hashlib

from markupsafe import Markup

from trainer.errors import TrainerError

# The system's own colours: the token sheet is among the files that are not given out here.
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{display:grid;min-height:100vh;margin:0;place-items:center;"
    "background:Canvas;color:CanvasText;font:1rem/1.5 system-ui,sans-serif}"
    "main{box-sizing:border-box;width:min(34rem,100%);padding:1.5rem;overflow-wrap:anywhere}"
    "h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:.5rem 0}"
    "form{display:flex;flex-wrap:wrap;gap:.5rem;margin-top:1.5rem}label{width:100%}"
    "input,button{box-sizing:border-box;min-height:2.75rem;padding:0 .75rem;font:inherit}"
    "input{flex:1;min-width:10rem}"
)

STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"
"""By which the Content-Security-Policy knows the one style that stands inside a page."""

_PAGE = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>{title} · llm-trainer</title><style>{style}</style></head>"
    "<body><main><h1>{title}</h1><p>{message}</p><p>{hint}</p>{form}</main></body></html>"
)
_TOKEN_FORM = Markup(
    '<form method="get"><label for="token">Token</label>'
    '<input id="token" name="token" type="password" autocomplete="off" required autofocus>'
    "<button>Open the dashboard</button></form>"
)


def plain_page(error: TrainerError, *, title: str, ask_for_token: bool = False) -> str:
    """Return a whole page that tells of an error.

    Args:
        ask_for_token: put a field there whose text becomes ``?token=`` of the same address.
    """
    return str(
        _PAGE.format(
            title=title,
            style=Markup(_STYLE),  # a constant of this module
            message=error.message,
            hint=error.hint,
            form=_TOKEN_FORM if ask_for_token else "",
        )
    )
