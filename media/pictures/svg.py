"""SVG: drawn by resvg in a process of its own, which runs no scripts, opens no files or addresses, and ends within seconds."""

import io
import os
import signal
import subprocess
import sys
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL.PngImagePlugin import PngImageFile

from media.errors import PictureError
from media.pictures.opened import Opened

_PROGRAM = Path(__file__).with_name("svg_renderer.py")
_SECONDS = 15
_TOO_SLOW = "the SVG takes too long to draw. Save it as PNG."
_MAX_BYTES = 64 << 20  # of text; a drawing of this length takes longer than the limit
_LEAST_SIDE = 512  # pixels; icons are small, and can be drawn at any size


def open_svg(stream: BinaryIO, min_side: int) -> Opened:
    """The drawing with its short side at `min_side` or more, and its size as the file says, in CSS pixels."""
    stream.seek(0)
    text = stream.read(_MAX_BYTES + 1)
    try:
        if text.startswith(b"\x1f\x8b"):
            text = zlib.decompressobj(31).decompress(text, _MAX_BYTES + 1)
    except zlib.error as error:
        raise PictureError("decode", f"the compressed SVG is damaged ({error})") from error
    if len(text) > _MAX_BYTES:
        raise PictureError("decode", f"the SVG has more than {_MAX_BYTES >> 20} MiB of text. Save a smaller one, or a PNG.")
    command = [sys.executable, "-P", "-X", "utf8", str(_PROGRAM), str(max(min_side, _LEAST_SIDE)), _font()]
    try:
        # a process group of its own keeps the terminal's Ctrl-C from it
        done = subprocess.run(command, input=text, capture_output=True, timeout=_SECONDS, check=False, process_group=0)
    except subprocess.TimeoutExpired:
        raise PictureError("decode", _TOO_SLOW) from None
    if done.returncode == -signal.SIGXCPU:
        raise PictureError("decode", _TOO_SLOW)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise PictureError("decode", f"the SVG cannot be drawn ({lines[-1][:200]})")
    size, _, png = done.stdout.partition(b"\n")
    width, height = map(int, size.split())
    return Opened(PngImageFile(io.BytesIO(png), ""), (width, height))


def _font() -> str:
    """A font that comes with matplotlib, so that a drawing looks the same on every machine; empty if there is none."""
    found = find_spec("matplotlib")
    places = found.submodule_search_locations if found else None
    font = Path(next(iter(places), "") if places else "", "mpl-data/fonts/ttf/DejaVuSans.ttf")
    return os.fspath(font) if font.is_file() else ""
