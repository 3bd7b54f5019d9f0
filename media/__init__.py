"""Bytes of pictures and videos in; pixels, metadata and thumbnails out. The only package that reads media bytes or lists suffixes.

A name is imported when it is first used (see `__init__.pyi`), so that the page and the video worker load only what they need.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
