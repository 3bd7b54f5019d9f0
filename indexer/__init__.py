"""Folders to rows of a collection.

Names are imported when they are first asked for (see `__init__.pyi`): the video worker is a process of this package, without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
