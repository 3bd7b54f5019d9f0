"""The program that draws one SVG file, in a process with limits: from standard input to a PNG on standard output.

`python svg_renderer.py SIDE FONT` draws the picture with its short side at SIDE pixels, or its long one at four times as many. The first
line of the output is the size that the file says. The limits are part of the design: the renderer is safe Rust, but a small file can ask
for any amount of memory and time. It also would read pictures that the file names by path, so those are removed before.
"""

import re
import resource
import sys
from contextlib import suppress
from xml.etree import ElementTree as ET

import resvg_py

_MEMORY_BYTES = 1 << 30
_SECONDS = 10
_FAMILY = "DejaVu Sans"  # the family of FONT
_LONGEST = 1_000_000  # pixels of a side, as the file says it
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}  # CSS, at 96 a inch


def main() -> None:
    side, font = int(sys.argv[1]), sys.argv[2]
    with suppress(ValueError, OSError):  # a system without this limit
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    root = ET.fromstring(sys.stdin.buffer.read())
    for element in root.iter():
        for name in [name for name in element.attrib if name.rpartition("}")[2] == "href"]:
            if not element.attrib[name].startswith(("#", "data:")):
                del element.attrib[name]
    width, height = (min(length, _LONGEST) for length in _size(root))
    scale = min(side / min(width, height), 4 * side / max(width, height))
    root.set("width", str(max(1, round(width * scale))))
    root.set("height", str(max(1, round(height * scale))))
    if root.get("viewBox") is None:
        root.set("viewBox", f"0 0 {width} {height}")
    png = resvg_py.svg_to_bytes(
        svg_string=ET.tostring(root, encoding="unicode"),
        skip_system_fonts=True,
        font_files=[font] if font else None,
        font_family=_FAMILY,
        serif_family=_FAMILY,  # which also stands for fonts that are not there
        sans_serif_family=_FAMILY,
        monospace_family=_FAMILY,
    )
    sys.stdout.buffer.write(f"{max(1, round(width))} {max(1, round(height))}\n".encode() + png)


def _size(root: ET.Element) -> tuple[float, float]:
    """Width and height in pixels: the attributes; where they are missing or relative, by the view box; else 300 x 150 as browsers do."""
    width, height = (_length(root.get(name, "")) for name in ("width", "height"))
    box = [float(part) for part in re.findall(r"[-+.\deE]+", root.get("viewBox", ""))]
    box_width, box_height = box[2:4] if len(box) == 4 and min(box[2:]) > 0 else (300.0, 150.0)
    if width and height:
        return width, height
    if width or height:
        return width or height * box_width / box_height, height or width * box_height / box_width
    return box_width, box_height


def _length(text: str) -> float:
    """A length in pixels; 0 if it is absent, relative, or no number."""
    match = re.fullmatch(r"\s*(\+?[\d.]+(?:[eE][-+]?\d+)?)\s*([a-z]*)\s*", text)
    return float(match[1]) * _PIXELS.get(match[2], 0.0) if match else 0.0


if __name__ == "__main__":
    main()
