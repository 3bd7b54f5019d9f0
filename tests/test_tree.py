"""The README shows every file of the packages with a comment, and the packages export what they say."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("coca_model", "evaluation", "indexer", "media", "search", "training", "ui")


def files_in_readme():
    found, folder = set(), ""
    tree = (ROOT / "README.md").read_text().split("## The tree\n")[1].split("\n\n")[0]
    for line in tree.splitlines():
        indent, name = re.fullmatch(r" {4}( *)(\S+) {2,}\S.*", line).groups()
        folder = name if name.endswith("/") and not indent else folder if indent else ""
        if not name.endswith("/"):
            found.add(folder + name)
    return found


def test_the_readme_tree_has_every_file_with_a_comment():
    folders = (*PACKAGES, "media/video", "data", "benchmarks", "docs")
    real = {str(file.relative_to(ROOT)) for folder in folders for file in (ROOT / folder).glob("*.*") if file.is_file()}
    real = {file for file in real if "__init__.py" not in file and not file.endswith(".png")}
    real |= {"coca_search.py", "Makefile", "constraints.txt"}
    assert files_in_readme() == real


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_a_sorted_list_of_at_most_ten_names(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    assert len(module.__all__) <= 10
    assert all(getattr(module, name) is not None for name in module.__all__)
