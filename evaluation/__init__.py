"""Measures a model on published test sets, and a collection by its owner's own queries.

Names are imported when they are first asked for (see `__init__.pyi`), so that `coca-search --help` starts without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
