"""One hit as HTML: a picture that can be enlarged, or a video that plays from its moment. Text that comes from a file is escaped."""

import html
import math
from pathlib import PurePath

from media.formats import format_named, format_of
from search.hits import RemoteHit

_NOTES = {"missing": "file is gone", "changed": "changed since indexing"}


def card(hit: RemoteHit, index: int) -> str:
    """The HTML of a hit. `index` is the position of the card on the page."""
    name = html.escape(PurePath(hit.uri.replace("\\", "/")).name)
    moment = f'<span class="moment">{_moment(hit)}</span>' if hit.start_seconds is not None else ""
    note = f'<span class="note">{_NOTES[hit.file]}</span>' if hit.file in _NOTES else ""
    similarity = (
        f'<span class="similarity" title="Cosine of words and picture, -1 to 1"><span>similarity </span>{hit.similarity:.2f}</span>'
    )
    return (
        f'<div class="hit" role="listitem"><div class="view">{_view(hit, name, index)}{moment}{note}</div>'
        f'<div class="words"><span class="name" title="{html.escape(hit.uri)}">{name}</span>{similarity}</div></div>'
    )


def _view(hit: RemoteHit, name: str, index: int) -> str:
    """The picture or video of a card. A missing file has only a thumbnail."""
    thumbnail, media = html.escape(hit.thumbnail_url), html.escape(hit.media_url)
    known = format_named(hit.format) or format_of(hit.uri)
    moves_by_itself = known is not None and known.animated  # such as a GIF: a picture for the browser, which shows it moving
    small = f'<img src="{thumbnail}" alt="{name}" loading="lazy">'
    if hit.file == "missing":
        return small
    if hit.start_seconds is None or moves_by_itself:
        large = media if known is None or known.browsers_show else thumbnail
        return (
            f'<button class="enlarge" popovertarget="large-{index}" aria-label="Enlarge {name}">{small}</button>'
            f'<div class="large" id="large-{index}" popover><img src="{large}" alt="{name}" loading="lazy">'
            f'<a href="{media}" target="_blank">{html.escape(hit.uri)}</a></div>'
        )
    in_photo = known is not None and known.kind == "image"  # the film of a motion photo, which is MPEG-4
    if known is not None and (known.browsers_show or in_photo):
        start = math.ceil(hit.start_seconds * 1000) / 1000  # rounding down would show the last frame of the previous shot
        return (
            f'<video src="{media}" data-start="{start:.3f}" poster="{thumbnail}" preload="none" playsinline></video>'
            f'<button class="play" aria-label="Play {name} from {_moment(hit)}"></button>'
        )
    return f'<a class="open" href="{media}" target="_blank" title="Browsers cannot play this format. Click to open the file.">{small}</a>'


def _moment(hit: RemoteHit) -> str:
    """The time of a moment, such as 0:12 – 0:16."""
    first = clock(math.floor(hit.start_seconds or 0.0))
    last = clock(math.ceil(hit.end_seconds or 0.0))
    return first if first == last else f"{first} – {last}"


def clock(seconds: int) -> str:
    """Seconds as 2:03, or 1:02:03."""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
