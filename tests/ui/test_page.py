"""The page in a real Chromium, with a real Streamlit process and a real service."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
from PIL import Image

from indexer import index
from search import open_collection
from search.service import make_app
from tests.fakes import FakeEncoder, write_film, write_picture
from tests.serving import free_port, serving
from ui.cli import page_arguments

pytestmark = pytest.mark.browser

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "\" onmouseover=\"alert(2)\" x=\".png",
    "'><svg onload=alert(3)>.png",
    "&lt;b&gt; $a^2$ **b** [c](d).png",
)  # fmt: skip
PLAIN = ("green.png", "white.png")
WIDE = (640, 480)
FILM_STARTS_AT = 6.0  # as that of a camera that cuts a recording into files
OURS = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name in HOSTILE:
        write_picture(folder / "library" / name, "red")
    for name in PLAIN:
        write_picture(folder / "library" / name, name.removesuffix(".png"), size=WIDE)
    write_film(folder / "library" / "film.mp4", [("yellow", 4.0), ("blue", 4.0)], size=(320, 180), starts_at=FILM_STARTS_AT)
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url:
        yield url


@pytest.fixture(scope="module")
def page_url(service, tmp_path_factory):
    """The URL of Streamlit, started as `coca-search ui` starts it."""
    port = free_port()
    log = tmp_path_factory.mktemp("streamlit") / "log"
    command = [sys.executable, *page_arguments(service, port, browser=False)]
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, process, log)
            yield url
        finally:
            process.terminate()


def wait_for(url, process, log):
    deadline = time.monotonic() + 120
    while True:
        try:
            return urlopen(f"{url}/_stcore/health", timeout=5).close()
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail("no chromium on this machine, and REQUIRE_BROWSER=1")
        pytest.skip("no chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium):
    """Opens pages. The test fails on any console error, failed request or request to another host."""
    contexts, complaints = [], []

    def new_page(**options):
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options}))
        page = contexts[-1].new_page()
        page.set_default_timeout(90_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}") if "/thumbnail/" in request.url else None)
        page.on("response", lambda response: complaints.append(f"{response.status}: {response.url}") if response.status >= 400 else None)
        page.on(
            "request",
            lambda request: None if "127.0.0.1" in request.url or request.url.startswith("data:") else complaints.append(request.url),
        )
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(new_page):
    return new_page()


def search(page, page_url, words):
    page.goto(page_url)
    box = page.get_by_label("Search")
    box.fill(words)
    box.press("Enter")
    page.wait_for_selector(".hit")


def wait_for_pictures(page):
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.hit .view > button > img')];"
        " return all.length && all.every(image => image.complete && image.naturalWidth > 0) }"
    )


def names(page):
    return page.locator(".hit .name").all_inner_texts()


def test_a_typed_query_shows_cards_with_pictures(page, page_url):
    search(page, page_url, "green")
    wait_for_pictures(page)
    assert names(page)[0] == "green.png"
    assert sorted(names(page)) == sorted([*HOSTILE, *PLAIN, "film.mp4"])
    assert page.locator(".hit .similarity").first.inner_text() == "similarity 1.00"
    assert page.url == f"{page_url}/?q=green"


def test_a_video_plays_in_place_from_its_moment(page, page_url):
    search(page, page_url, "blue")
    card = page.locator(".hit", has=page.locator("video"))
    start = float(card.locator("video").get_attribute("data-start"))
    assert start == pytest.approx(4.0, abs=0.7)
    assert card.locator(".moment").inner_text() == f"0:0{int(start)} – 0:08"
    card.get_by_role("button", name="Play film.mp4").click()
    page.wait_for_function("() => { const video = document.querySelector('.hit video'); return !video.paused && video.currentTime > 10.5 }")
    played = page.evaluate("() => { const { played } = document.querySelector('.hit video'); return played.start(played.length - 1) }")
    assert played == pytest.approx(FILM_STARTS_AT + start, abs=0.05)
    assert not card.locator(".play").is_visible()
    assert page.evaluate("() => document.querySelector('.hit video').videoWidth") == 320
    assert page.url == f"{page_url}/?q=blue"


def test_hostile_names_are_shown_and_run_no_code(page, page_url):
    search(page, page_url, "red")
    wait_for_pictures(page)
    assert set(HOSTILE) <= set(names(page))
    for card in page.locator(".hit").all():
        card.hover()
    assert page.evaluate("() => document.querySelectorAll('.hit svg, .hit script, .hit [onerror], .hit [onmouseover]').length") == 0
    assert page.locator(".hit .view > button > img").count() == len(HOSTILE) + len(PLAIN)


def test_a_picture_can_be_enlarged_and_closed(page, page_url):
    search(page, page_url, "green")
    page.get_by_role("button", name="Enlarge green.png").click()
    large = page.locator(".large:popover-open img")
    large.wait_for()
    page.wait_for_function("() => document.querySelector('.large:popover-open img').naturalWidth > 0")
    assert large.evaluate("image => [image.naturalWidth, image.naturalHeight]") == list(WIDE)
    page.keyboard.press("Escape")
    large.wait_for(state="hidden")


def test_the_address_restores_the_search_and_back_returns_to_the_previous_one(page, page_url):
    page.goto(f"{page_url}/?q=white&show=Videos")
    page.wait_for_selector(".hit")
    assert names(page) == ["film.mp4"]
    page.wait_for_function("() => document.querySelector('input[aria-label=Search]')?.value === 'white'")
    page.get_by_label("Search").fill("green")
    page.get_by_label("Search").press("Enter")
    page.wait_for_url("**/?q=green&show=Videos")
    page.go_back()
    page.wait_for_function("() => document.querySelector('input[aria-label=Search]')?.value === 'white'")
    assert page.url == f"{page_url}/?q=white&show=Videos"


def test_clicking_an_example_shows_its_hits(page, page_url):
    page.goto(page_url)
    page.get_by_role("button", name="a cup of coffee").click()
    page.wait_for_selector(".hit")
    assert page.url == f"{page_url}/?q=a+cup+of+coffee"


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_page_fits_a_narrow_screen_in_both_themes(new_page, page_url, scheme, dark):
    page = new_page(viewport={"width": 360, "height": 640}, color_scheme=scheme)
    page.goto(f"{page_url}/?q=red")
    page.wait_for_selector(".hit")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    columns = {round(card.bounding_box()["x"]) for card in page.locator(".hit").all()}
    assert len(columns) == 2
    background = page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(", ")) < 300) is dark


def test_the_screenshot_script_for_the_readme_works(page_url, chromium, tmp_path):
    script = Path(__file__).parents[2] / "data" / "screenshot.py"
    subprocess.run([sys.executable, script, page_url, "green", tmp_path / "page.png"], timeout=200, check=True)
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1280, 800)
        assert any(count > 10_000 and colour[1] > colour[0] + 100 for count, colour in picture.convert("RGB").getcolors(1 << 20))
