"""Raises an error if a file of the user hides a package of coca-search.

Names such as `search` and `media` are common. Python looks first in the folder of the user's script, and would import that file.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("coca_model", "evaluation", "indexer", "media", "search", "training", "ui")


def refuse_shadowed_packages() -> None:
    """Raises ImportError, which names the file. `python -m coca_search` prints the message and exits with code 2 instead."""
    home = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        file = _file_of(name)
        if file is not None and file != home / name / "__init__.py":
            sentence = f"{file} hides the package {name!r} of coca-search. Rename it, or run Python from another folder."
            if sys.argv[0] == "-m" and "coca_search" in sys.orig_argv:  # `python -m coca_search`: a message, as for all its errors
                print(f"coca-search: {sentence}", file=sys.stderr)
                sys.exit(2)
            raise ImportError(sentence, name=name, path=str(file))


def _file_of(name: str) -> Path | None:
    """The file that `import` loads, or has loaded, for a package."""
    if name in sys.modules:
        file = getattr(sys.modules[name], "__file__", None)
    else:
        spec = find_spec(name)
        file = spec.origin if spec is not None else None
    return Path(file).resolve() if file else None
