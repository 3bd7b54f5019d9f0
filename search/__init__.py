"""The collection on disk, and `search()` over it.

Names are imported when they are first asked for (see `__init__.pyi`): the page and the client talk HTTP and must start without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
