"""JSON on the way out: a number that is not finite becomes null, for browsers refuse NaN."""

from __future__ import annotations

from typing import Any

import engineio.json
import msgspec
from flask import Response


def json_answer(data: Any, status: int = 200) -> Response:
    """Make a JSON response."""
    return Response(msgspec.json.encode(data), status, mimetype="application/json")


class SocketJson:
    """The JSON codec of the live connection, in the form that Socket.IO expects."""

    @staticmethod
    def dumps(data: Any, **_: Any) -> str:
        return msgspec.json.encode(data).decode()

    @staticmethod
    def loads(text: str, **options: Any) -> Any:
        return engineio.json.loads(text, **options)
