"""The server of the page: Streamlit, behind a check that rejects requests of foreign web pages.

    python -m ui.server SERVICE_URL PORT [--browser]

The page reads SERVICE_URL as its first argument.
"""

import sys
import threading
import webbrowser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware

from search.local_only import LocalOnly

_LOOK_AND_QUIET = {
    "server.address": "127.0.0.1",
    "server.headless": True,
    "server.fileWatcherType": "none",
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "theme.light.primaryColor": "#5b5bd6",
    "theme.dark.primaryColor": "#8b8bf5",
}


def main(port: int, *, browser: bool) -> None:
    """Serve the page on this machine until a signal ends it."""

    @asynccontextmanager
    async def open_browser(_: Any) -> AsyncGenerator[None]:
        if browser:  # the socket listens already; a thread, because browsers start slowly
            threading.Thread(target=webbrowser.open, args=(f"http://127.0.0.1:{port}",), daemon=True).start()
        yield

    app = st.App(Path(__file__).with_name("page.py"), middleware=[Middleware(LocalOnly)], lifespan=open_browser)
    app.run(config={**_LOOK_AND_QUIET, "server.port": port})


if __name__ == "__main__":
    main(int(sys.argv[2]), browser="--browser" in sys.argv[3:])
