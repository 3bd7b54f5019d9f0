"""An ASGI middleware that rejects requests of foreign web pages, for the search service and for the server of the page.

Both listen on the loopback interface. But a foreign web page can reach them through the user's browser: by a name that resolves to
127.0.0.1 (DNS rebinding), or by a request or WebSocket to localhost. The header `Host` reveals the first, `Origin` the second.
"""

import re
from collections.abc import Collection

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(:\d{1,5})?", re.IGNORECASE)  # any port: a port forward may change it
_SCHEME = re.compile(r"^https?://", re.IGNORECASE)


class LocalOnly:
    """Rejects HTTP requests and WebSockets with a foreign `Host` or `Origin`. A request needs no `Origin`."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] = LOOPBACK) -> None:
        """`hosts` are the allowed host names; IPv6 addresses with or without brackets."""
        self._app = app
        self._hosts = frozenset(_in_brackets(host.lower()) for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        hosts, origins = (_values(scope, name) for name in (b"host", b"origin"))
        if len(hosts) != 1 or not self._knows(hosts[0]):
            status, reason = 400, f"Foreign host ({', '.join(hosts)[:80]!a}). Use one of: {', '.join(sorted(self._hosts))}."
        elif foreign := [origin for origin in origins if not self._knows(_SCHEME.sub("", origin))]:
            status, reason = 403, f"Foreign origin ({foreign[0][:80]!a}). Only pages of this machine are answered."
        else:
            return None
        return WebSocketClose(1008, reason) if scope["type"] == "websocket" else PlainTextResponse(reason, status)

    def _knows(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        return match is not None and match[1].lower() in self._hosts


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _in_brackets(host: str) -> str:
    """A host as a `Host` header spells it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
