"""Everything that a picture or film says of itself: when, where, with what, about what; as one mapping from names to plain values.

Pictures and films have the same derived keys, which are the names of columns (`search/schema.py`): `taken_at`, `latitude`, `camera` and
others (`columns.py`, `taken.py`); also `width` and `height` (pixels, upright) and `duration_seconds` (films only). Beside them are the
raw tags: exiv2's names for pictures, `QuickTime.<tag>` for films. `notes` are sentences about values that were ignored. The mapping has
no key for a value that is absent, empty or unreadable, so use `get`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
