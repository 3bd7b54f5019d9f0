"""The Streamlit page: a search box, a grid of hits, and videos that play from their moment. Talks HTTP only.

The grid is one piece of HTML. The browser fetches its pictures and videos from the service, so no media pass through Streamlit. The
search is in the URL of the page (`?q=`), so it can be bookmarked, and Back returns to the previous search.
"""

import sys
from pathlib import Path
from typing import Any

import streamlit as st

from search.client import DEFAULT_URL, Client
from search.errors import NoServiceError, QueryError, ServiceError
from search.request import SearchRequest
from ui.card import card
from ui.facets import FACETS, Facet

EXAMPLES = ("a cat looking at the camera", "a rocket taking off", "a cup of coffee", "people laughing", "snowy mountains", "a page of text")
_HITS = 24  # at first, and added by each "Show more"


def main() -> None:
    """Draw the page once. Streamlit calls this on every interaction."""
    st.set_page_config(page_title="coca-search", page_icon="🔎", layout="wide")
    st.html(Path(__file__).with_name("page.css"))
    # A fixed script. The HTML of the hits, which contains names of files, runs no scripts.
    st.html(f"<script>{Path(__file__).with_name('page.js').read_text()}</script>", unsafe_allow_javascript=True)
    st.html('<h1 class="brand">coca-search<small>your pictures and videos, by what you remember of them</small></h1>')
    client = _client(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL)
    try:
        health = client.health()
        request = _ask()
        if request is None:
            _show_hints(health)
        else:
            _show_hits(client, request)
    except QueryError as error:
        st.warning("This search cannot be answered. Try other words.", icon=":material/edit:")
        st.code(str(error), language=None, wrap_lines=True)
    except NoServiceError:
        st.error(
            f"The search service does not answer at {client.url}. Start it in a terminal, then try again:", icon=":material/power_off:"
        )
        st.code("coca-search serve", language="bash")
        st.button("Try again")
    except ServiceError as error:
        st.error("The search service could not answer:", icon=":material/warning:")
        st.code(str(error), language=None, wrap_lines=True)
        st.button("Try again")


def _ask() -> SearchRequest | None:
    """The request; None if the search box is empty. The widgets and the URL of the page always show the same search."""
    state, address = st.session_state, st.query_params
    in_address = {"q": address.get("q", "")} | {facet.key: address.get(facet.key, facet.default) for facet in FACETS}
    if in_address != state.get("in_address"):  # the page was just opened, or Back was pressed
        state.q = in_address["q"]
        state.update({facet.key: _allowed(facet, in_address[facet.key]) for facet in FACETS})
    box, *columns = st.columns([4, *[1.4 for _ in FACETS]], vertical_alignment="center")
    hint = "What do you remember? Press Enter to search."
    box.text_input("Search", key="q", placeholder=hint, label_visibility="collapsed", icon=":material/search:")
    for facet, column in zip(FACETS, columns, strict=True):
        column.segmented_control(facet.label, list(facet.choices), key=facet.key, label_visibility="collapsed")
    asked = {"q": state.q.strip()} | {facet.key: state[facet.key] or facet.default for facet in FACETS}
    if asked != state.get("in_address"):
        state.in_address, state.k = asked, _HITS
        defaults = {facet.key: facet.default for facet in FACETS}
        address.from_dict({name: value for name, value in asked.items() if value and value != defaults.get(name)})
    if not asked["q"]:
        return None
    request = SearchRequest(asked["q"], k=state.k)
    for facet in FACETS:
        request = facet.choices[asked[facet.key]](request)
    return request


def _allowed(facet: Facet, choice: str) -> str:
    return choice if choice in facet.choices else facet.default


def _show_hits(client: Client, request: SearchRequest) -> None:
    hits = client.answer(request)
    if not hits:
        st.info("There is nothing of this kind to search. Choose another kind, or index some files.", icon=":material/folder_open:")
        return
    st.html(f'<div class="hits" role="list">{"".join(card(hit, index) for index, hit in enumerate(hits))}</div>')
    if len(hits) == request.k:
        st.button("Show more", on_click=lambda: st.session_state.update(k=request.k + _HITS))


def _show_hints(health: dict[str, Any]) -> None:
    """What the collection holds, and some searches to try."""
    if not health["image"] + health["shot"]:
        st.info("Nothing is indexed yet. In a terminal, give a folder of pictures and videos:", icon=":material/folder_open:")
        st.code("coca-search index FOLDER", language="bash")
        return
    st.markdown("Describe what you remember in a few words, to find a picture or a moment in a video. For example:")
    with st.container(horizontal=True):
        for example in EXAMPLES:
            st.button(example, on_click=lambda words: st.session_state.update(q=words), args=(example,))
    counts = f"{_count(health['image'], 'picture')} and {_count(health['clip'], 'video')} with {_count(health['shot'], 'moment')}"
    st.caption(f"{counts}, on this machine." + (f" {_count(health['failed'], 'file')} could not be indexed." if health["failed"] else ""))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


@st.cache_resource
def _client(url: str) -> Client:
    return Client(url)


if __name__ == "__main__":
    main()
