"""CoCa: pictures or texts in; embeddings, captions and likelihoods out.

Names are imported when first used (see `__init__.pyi`), so a command that needs no model starts without torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
