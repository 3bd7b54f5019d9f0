"""Takes the picture of the search page for the README: `python data/screenshot.py PAGE_URL QUERY OUT.png`.

Uses the system's Chromium and downloads no browser.
"""

import shutil
import sys
from typing import Annotated, Literal
from urllib.parse import quote

import typer
from playwright.sync_api import sync_playwright

# For Chromium as root in a container, without network calls of its own.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTLED = """() => [...document.querySelectorAll('.hit .view > button > img')]
    .filter(image => image.getBoundingClientRect().top < innerHeight).every(image => image.complete)"""


def screenshot(
    page_url: Annotated[str, typer.Argument(help="such as http://127.0.0.1:8501")],
    query: Annotated[str, typer.Argument(help="what to search for; empty shows the page as it opens")],
    out: Annotated[str, typer.Argument(help="the PNG to write")],
    width: int = 1280,
    height: int = 800,
    scheme: Literal["light", "dark"] = "light",
) -> None:
    """Take a picture of the page with the hits of a query, when their pictures are loaded."""
    if (chromium := shutil.which("chromium")) is None:
        sys.exit("screenshot.py: no chromium on this machine. Install it (Debian: apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{page_url}/?q={quote(query)}" if query else page_url)
        if query:
            page.wait_for_selector(".hit")
            page.wait_for_function(SETTLED)
        else:
            page.get_by_text("For example").wait_for()
        page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget]')")
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    typer.run(screenshot)
