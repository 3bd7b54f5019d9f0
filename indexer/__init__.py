"""Folders to rows of a collection.

Names are imported when first used (see `__init__.pyi`), so `coca-search --help` starts without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
