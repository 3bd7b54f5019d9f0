"""The Streamlit page: a search box, a grid of hits, and videos that play from their moment. Talks HTTP only.

The grid is one piece of HTML whose pictures and videos the browser fetches from the service itself, so that no media
passes through Streamlit and a thousand hits cost the page nothing. The search is in the address (`?q=`): it can be
bookmarked, and the browser's Back goes to the search before.
"""

import html
import math
import sys
from pathlib import Path, PurePath
from typing import Any

import streamlit as st

from media.formats import format_of
from search.client import DEFAULT_URL, Client
from search.errors import NoServiceError, QueryError, ServiceError
from search.hits import RemoteHit
from search.schema import Kind

EXAMPLES = ("a cat looking at the camera", "a rocket taking off", "a cup of coffee", "people laughing", "snowy mountains", "a page of text")
_KINDS: dict[str, tuple[Kind, ...]] = {"Everything": ("image", "shot"), "Pictures": ("image",), "Videos": ("shot",)}
_HITS = 24  # on the page, and as many again with each "Show more"


def main() -> None:
    """Draw the page once; Streamlit calls this anew on every interaction."""
    st.set_page_config(page_title="coca-search", page_icon="🔎", layout="wide")
    st.html(Path(__file__).with_name("page.css"))
    # A fixed script, apart from the hits: theirs is the HTML with words of files in it, and runs none.
    st.html(f"<script>{Path(__file__).with_name('page.js').read_text()}</script>", unsafe_allow_javascript=True)
    st.html('<h1 class="brand">coca-search<small>your pictures and videos, by what you remember of them</small></h1>')
    client = _client(sys.argv[1] if len(sys.argv) > 1 else DEFAULT_URL)
    try:
        health = client.health()
        text, show = _ask()
        if text:
            _show_hits(client, text, show)
        else:
            _show_hints(health)
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
        st.error("The search service could not answer. What it said:", icon=":material/warning:")
        st.code(str(error), language=None, wrap_lines=True)
        st.button("Try again")


def _ask() -> tuple[str, str]:
    """The query and what to show, kept the same in the widgets and in the address."""
    state, address = st.session_state, st.query_params
    in_address = (address.get("q", ""), address.get("show", "Everything"))
    if in_address != state.get("in_address"):  # the page was just opened, or Back was pressed
        state.q, state.show = in_address[0], in_address[1] if in_address[1] in _KINDS else "Everything"
    box, choice = st.columns([4, 1.4], vertical_alignment="center")
    hint = "What do you remember? Press Enter to search."
    box.text_input("Search", key="q", placeholder=hint, label_visibility="collapsed", icon=":material/search:")
    choice.segmented_control("Show", list(_KINDS), key="show", label_visibility="collapsed")
    asked = state.q.strip(), state.show or "Everything"
    if asked != state.get("in_address"):
        state.in_address, state.k = asked, _HITS
        chosen = {"q": asked[0], "show": asked[1] if asked[1] != "Everything" else ""}
        address.from_dict({name: value for name, value in chosen.items() if value})
    return asked


def _show_hits(client: Client, text: str, show: str) -> None:
    hits = client.search(text, k=st.session_state.k, kinds=_KINDS[show])
    if not hits:
        st.info(f"No {show.lower() if show != 'Everything' else 'pictures or videos'} here to search in.", icon=":material/folder_open:")
        return
    st.html(f'<div class="hits" role="list">{"".join(card(hit, place) for place, hit in enumerate(hits))}</div>')
    if len(hits) == st.session_state.k:
        st.button("Show more", on_click=lambda: st.session_state.update(k=st.session_state.k + _HITS))


def _show_hints(health: dict[str, Any]) -> None:
    """What one can search in, and some searches to try."""
    if not health["image"] + health["shot"]:
        st.info("Nothing is indexed yet. In a terminal, give a folder of pictures and videos:", icon=":material/folder_open:")
        st.code("coca-search index FOLDER", language="bash")
        return
    st.markdown("Describe what you remember in a few words, and find the picture, or the second of the video. For example:")
    with st.container(horizontal=True):
        for example in EXAMPLES:
            st.button(example, on_click=lambda words: st.session_state.update(q=words), args=(example,))
    counts = f"{_count(health['image'], 'picture')} and {_count(health['clip'], 'video')} with {_count(health['shot'], 'moment')}"
    st.caption(f"{counts}, on this machine." + (f" {_count(health['failed'], 'file')} could not be indexed." if health["failed"] else ""))


def card(hit: RemoteHit, place: int) -> str:
    """One hit as HTML; every word that comes from a file is escaped. `place` tells the cards of a page apart."""
    name = html.escape(PurePath(hit.uri.replace("\\", "/")).name)
    thumbnail, media = html.escape(hit.thumbnail_url), html.escape(hit.media_url)
    known = format_of(hit.uri)
    small = f'<img src="{thumbnail}" alt="{name}" loading="lazy">'
    if hit.start_seconds is None:
        large = media if known is None or known.browsers_show else thumbnail
        view = (
            f'<button class="enlarge" popovertarget="large-{place}" aria-label="Enlarge {name}">{small}</button>'
            f'<div class="large" id="large-{place}" popover><img src="{large}" alt="{name}" loading="lazy">'
            f'<a href="{media}" target="_blank">{html.escape(hit.uri)}</a></div>'
        )
    elif known is not None and known.browsers_show:
        start = math.ceil(hit.start_seconds * 1000) / 1000  # rounded down, the last frame of the shot before would show
        view = (
            f'<video src="{media}#t={start:.3f}" poster="{thumbnail}" preload="none" playsinline></video>'
            f'<button class="play" aria-label="Play {name} from {_moment(hit)}"></button>'
        )
    else:
        view = f'<a class="open" href="{media}" target="_blank" title="Browsers cannot play this kind: open the file">{small}</a>'
    moment = f'<span class="moment">{_moment(hit)}</span>' if hit.start_seconds is not None else ""
    alike = f'<span class="similarity" title="Cosine of words and picture, -1 to 1"><span>similarity </span>{hit.similarity:.2f}</span>'
    return (
        f'<div class="hit" role="listitem"><div class="view">{view}{moment}</div>'
        f'<div class="words"><span class="name" title="{html.escape(hit.uri)}">{name}</span>{alike}</div></div>'
    )


def _moment(hit: RemoteHit) -> str:
    """Such as 0:12 – 0:16."""
    first = clock(math.floor(hit.start_seconds or 0.0))
    last = clock(math.ceil(hit.end_seconds or 0.0))
    return first if first == last else f"{first} – {last}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def clock(seconds: int) -> str:
    """Seconds as 2:03, or 1:02:03."""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


@st.cache_resource
def _client(url: str) -> Client:
    return Client(url)


if __name__ == "__main__":
    main()
