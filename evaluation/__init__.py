"""Measures a model on published test sets, and a collection by its owner's queries.

The data flows in this order: datasets, features, measures, reports. A file of `tasks` joins them for each command. Names are
imported on first use (see `__init__.pyi`), so `coca-search --help` starts without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
