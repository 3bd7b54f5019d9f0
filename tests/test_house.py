"""House rules that a machine can check: generated docs, file sizes, exports, and which package reads media."""

import importlib
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from docs import make_docs

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("coca_model", "evaluation", "indexer", "media", "search", "training", "ui")
MAX_LINES, MAX_FILES, MAX_README = 300, 16, 120


def files(pattern="*.py"):
    listed = subprocess.run(["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).exists()]


SOURCES = [file for file in files() if "tests" not in file.parts]


@pytest.mark.parametrize("page", make_docs.pages(), ids=lambda page: page.name)
def test_the_generated_docs_are_up_to_date(page):
    assert page.read_text() == make_docs.pages()[page], "run: make docs"


def test_every_file_in_the_tree_of_the_docs_has_a_comment():
    lines = make_docs.tree().splitlines()
    assert [line for line in lines if re.fullmatch(r" {4}\S+\s*", line)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_a_sorted_list_of_at_most_ten_names(package):
    module = importlib.import_module(package)
    assert list(module.__all__) == sorted(module.__all__)
    assert len(module.__all__) <= 10
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_no_file_has_more_than_300_lines():
    long = {str(file.relative_to(ROOT)): count for file in SOURCES if (count := len(file.read_text().splitlines())) > MAX_LINES}
    assert long == {}


def test_no_folder_holds_too_many_files():
    crowded = {folder: count for folder, count in Counter(file.parent for file in SOURCES).items() if count > MAX_FILES}
    assert crowded == {}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MAX_README


def test_only_media_knows_suffixes_and_opens_pictures_and_videos():
    """Benchmarks and data scripts are exempt because they write media."""
    packages = [file for file in SOURCES if file.relative_to(ROOT).parts[0] in {*PACKAGES, "coca_search"} - {"media"}]
    forbidden = re.compile(r"""["']\.(jpe?g|png|webp|mp4|mov|mkv)["']|Image\.open\(|^import (av|decord)|^from (av|decord) """, re.MULTILINE)
    assert {str(file.relative_to(ROOT)): found for file in packages if (found := forbidden.findall(file.read_text()))} == {}
