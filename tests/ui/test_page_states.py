"""The page without a browser: its message in each state, and the HTML of a card."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from streamlit.testing.v1 import AppTest

import ui.page
from indexer import index
from search import open_collection
from search.hits import RemoteHit
from search.service import make_app
from tests.fakes import FakeEncoder, a_hit, write_picture
from tests.serving import free_port, serving
from ui.card import card, clock

NUM_PICTURES = 30


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    for number in range(NUM_PICTURES):
        write_picture(folder / "library" / f"{number}.png", size=(20 + number, 20))
    index(folder / "library", collection=folder / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(folder / "collection", encoder=FakeEncoder()))) as url:
        yield url


@pytest.fixture
def open_page(monkeypatch):
    def open_page(url, **address):
        monkeypatch.setattr("sys.argv", ["page.py", url])
        page = AppTest.from_file(ui.page.__file__, default_timeout=30)
        for name, value in address.items():
            page.query_params[name] = value
        page.run()
        assert not page.exception
        return page

    return open_page


def num_cards(page):
    return sum(str(element.proto.body).count('class="hit"') for element in page.get("html"))


def buttons(page):
    return {button.label: button for button in page.button}


def test_without_a_service_the_page_says_how_to_start_one(open_page):
    url = f"http://127.0.0.1:{free_port()}"
    page = open_page(url, q="red")
    assert page.error[0].value == f"The search service does not answer at {url}. Start it in a terminal, then try again:"
    assert page.code[0].value == "coca-search serve"
    assert list(buttons(page)) == ["Try again"]


def test_the_error_of_a_service_is_quoted_without_rendering_its_markdown(open_page):
    app = FastAPI()
    app.get("/healthz")(lambda: Response("![x](http://elsewhere/x.png)", 500))
    with serving(app) as url:
        page = open_page(url)
    assert "could not answer" in page.error[0].value
    assert "![x](http://elsewhere/x.png)" in page.code[0].value
    assert not any("elsewhere" in element.value for element in [*page.markdown, *page.error])


def test_an_empty_query_shows_examples_and_one_can_be_clicked(open_page, service):
    page = open_page(service)
    assert list(buttons(page)) == list(ui.page.EXAMPLES)
    assert page.caption[0].value == f"{NUM_PICTURES} pictures and 0 videos with 0 moments, on this machine."
    assert num_cards(page) == 0
    buttons(page)["a cup of coffee"].click().run()
    assert page.text_input(key="q").value == "a cup of coffee"
    assert page.query_params == {"q": "a cup of coffee"}
    assert num_cards(page) == 24


def test_a_blank_query_counts_as_empty(open_page, service):
    assert list(buttons(open_page(service, q="   "))) == list(ui.page.EXAMPLES)


def test_an_empty_collection_says_how_to_fill_it(open_page, tmp_path):
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "broken.png").write_bytes(b"x")
    index(tmp_path / "library", collection=tmp_path / "collection", encoder=FakeEncoder())
    with serving(make_app(open_collection(tmp_path / "collection", encoder=FakeEncoder()))) as url:
        page = open_page(url)
    assert "Nothing is indexed yet" in page.info[0].value
    assert page.code[0].value == "coca-search index FOLDER"


def test_a_search_without_hits_shows_a_message(open_page, service):
    page = open_page(service, q="red", show="Videos")
    assert page.info[0].value == "There is nothing of this kind to search. Choose another kind, or index some files."


def test_a_query_the_service_refuses_is_explained(open_page, service):
    page = open_page(service, q="x" * 20_000)
    assert page.warning[0].value == "This search cannot be answered. Try other words."
    assert "at most 10000 characters" in page.code[0].value


def test_the_address_restores_the_search_and_invalid_values_are_dropped(open_page, service):
    page = open_page(service, q=" red ", show="Nonsense")
    assert (page.text_input(key="q").value, num_cards(page)) == (" red ", 24)
    assert page.query_params == {"q": "red"}


def test_show_more_adds_hits_and_a_new_search_resets_the_count(open_page, service):
    page = open_page(service, q="red")
    buttons(page)["Show more"].click().run()
    assert num_cards(page) == NUM_PICTURES
    assert "Show more" not in buttons(page)
    page.text_input(key="q").set_value("blue").run()
    assert num_cards(page) == 24


class Tags(HTMLParser):
    """The tags and texts of an HTML string, and the tags left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def hit(name, start=None, end=None, file="unchanged", **more):
    kind = "image" if start is None else "shot"
    shown = {"start_seconds": start, "end_seconds": end, "frame_seconds": start, "kind": kind, "file": file}
    addresses = {"media_url": "http://h/media/1", "thumbnail_url": "http://h/thumbnail/1?seconds=1&x=2"}
    return RemoteHit(**vars(a_hit(uri=f"/library/{name}", similarity=0.314, **more)) | shown | addresses)


@pytest.mark.parametrize("moment", [(), (1.0, 2.0)])
def test_a_deleted_file_shows_its_thumbnail_and_cannot_be_opened(moment):
    shown = Tags(card(hit("a.mp4" if moment else "a.jpg", *moment, file="missing"), 0))
    assert {"video", "a", "button"}.isdisjoint(shown.tags)
    assert ("src", "http://h/thumbnail/1?seconds=1&x=2") in shown.attributes
    assert "file is gone" in shown.texts


def test_a_changed_file_is_marked_as_changed():
    assert "changed since indexing" in Tags(card(hit("a.jpg", file="changed"), 0)).texts
    assert "changed since indexing" not in Tags(card(hit("a.jpg"), 0)).texts


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>.jpg", "\"'><script>alert(1)<.jpg", "a & b &lt;c&gt;.jpg", "' onload='alert(1).jpg"]
)
@pytest.mark.parametrize("moment", [(), (1.0, 2.0)])
def test_a_file_name_is_escaped_in_html(name, moment):
    plain = Tags(card(hit("a.jpg", *moment), 0))
    hostile = Tags(card(hit(name, *moment), 0))
    assert (hostile.tags, hostile.open) == (plain.tags, [])
    assert [attribute for attribute, _ in hostile.attributes] == [attribute for attribute, _ in plain.attributes]
    assert name in hostile.texts
    assert ("title", f"/library/{name}") in hostile.attributes


def test_a_video_starts_at_its_moment_rounded_up():
    assert 'src="http://h/media/1" data-start="1.334"' in card(hit("a.MP4", 4 / 3, 2.0), 0)


@pytest.mark.parametrize(
    ("name", "start", "tag"), [("a.jpg", None, "button"), ("a.mkv", 1.0, "video"), ("a.avi", 1.0, "a"), ("a.wmv", 1.0, "a")]
)
def test_a_video_that_browsers_cannot_play_is_a_link(name, start, tag):
    assert Tags(card(hit(name, start, start), 0)).tags[2] == tag


def test_a_picture_that_browsers_cannot_show_is_enlarged_from_its_thumbnail():
    sources = [value for attribute, value in Tags(card(hit("a.tiff"), 0)).attributes if attribute == "src"]
    assert sources == ["http://h/thumbnail/1?seconds=1&x=2"] * 2


def test_times_of_moments_are_shown_as_a_clock():
    assert [clock(seconds) for seconds in (0, 59, 60, 3599, 3600, 36_061)] == [
        "0:00",
        "0:59",
        "1:00",
        "59:59",
        "1:00:00",
        "10:01:01",
    ]
    assert "0:12 – 0:16" in card(hit("a.mp4", 12.9, 15.2), 0)
    assert '"moment">0:12 – 0:13<' in card(hit("a.mp4", 12.0, 12.5), 0)


def test_css_and_javascript_lie_beside_the_page():
    assert {"page.css", "page.js"} <= {file.name for file in Path(ui.page.__file__).parent.iterdir()}


@pytest.mark.parametrize(
    ("name", "moment", "more", "tag", "address"),
    [
        ("a.jpg", (), {}, "img", "http://h/media/1"),
        ("a.heic", (), {}, "img", "http://h/thumbnail/1?seconds=1&x=2"),  # browsers show no HEIC
        ("a.jpg", (), {"format": "HEIC"}, "img", "http://h/thumbnail/1?seconds=1&x=2"),
        ("a.heic", (), {"format": "JPEG"}, "img", "http://h/media/1"),
        ("a.gif", (1.0, 2.0), {"format": "GIF"}, "img", "http://h/media/1"),  # it moves by itself
        ("a.mp4", (1.0, 2.0), {"format": "GIF"}, "img", "http://h/media/1"),
        ("a.mp4", (1.0, 2.0), {"format": "MPEG-4"}, "video", "http://h/media/1"),
        ("a.jpg", (1.0, 2.0), {"format": "JPEG"}, "video", "http://h/media/1"),  # the film of a motion photo
        ("a.heic", (1.0, 2.0), {"format": "HEIC"}, "video", "http://h/media/1"),
    ],
)
def test_a_card_shows_what_the_browser_can_show(name, moment, more, tag, address):
    shown = Tags(card(hit(name, *moment, **more), 0))
    assert tag in shown.tags
    assert ("src", address) in shown.attributes
    assert ("video" in shown.tags) == (tag == "video")


def test_a_film_that_browsers_cannot_play_is_opened():
    shown = Tags(card(hit("a.mp4", 1.0, 2.0, format="AVI"), 0))
    assert ("href", "http://h/media/1") in shown.attributes
    assert "video" not in shown.tags
