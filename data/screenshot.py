"""Takes the picture of the search page for the README: `python data/screenshot.py PAGE_URL QUERY OUT.png`.

Drives the Chromium that the system has; downloads no browser. An empty query shows the page as it opens.
"""

import argparse
import shutil
import sys
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright

# Chromium as root in a container, and without calls home.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SETTLED = """() => [...document.querySelectorAll('.hit .view > button > img')]
    .filter(image => image.getBoundingClientRect().top < innerHeight).every(image => image.complete)"""


def screenshot(page_url: str, query: str, out: str, *, width: int = 1280, height: int = 800, scheme: str = "light") -> None:
    """Write `out`, the page at `page_url` with the hits of `query`, once their pictures are there."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{page_url}/?q={quote(query)}" if query else page_url)
        _wait(page, hits=bool(query))
        page.screenshot(path=out)
        browser.close()


def _wait(page: Page, *, hits: bool) -> None:
    if hits:
        page.wait_for_selector(".hit")
        page.wait_for_function(SETTLED)
    else:
        page.get_by_text("For example").wait_for()
    page.wait_for_function("() => !document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget]')")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page_url", help="such as http://127.0.0.1:8501")
    parser.add_argument("query", help="what to search for; empty shows the page as it opens")
    parser.add_argument("out", help="the PNG to write")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    given = parser.parse_args()
    if shutil.which("chromium") is None:
        sys.exit("screenshot.py: no chromium on this machine. Install it (Debian: apt-get install chromium).")
    screenshot(given.page_url, given.query, given.out, width=given.width, height=given.height, scheme=given.scheme)


if __name__ == "__main__":
    main()
