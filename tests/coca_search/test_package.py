"""The coca_search package: exports, import cost, installation, and the error when a user's file hides a package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import coca_search
from coca_search.shadowing import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "lancedb", "pyarrow", "faiss", "numpy", "PIL")


def python(code, cwd, path=None):
    environment = {"PYTHONPATH": str(path)} if path else {}
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the packages, installed from a wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, str(ROOT)], check=True, timeout=200)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, timeout=200)
    return folder / "site"


def test_every_exported_name_can_be_imported():
    assert all(getattr(coca_search, name) is not None for name in coca_search.__all__)
    assert sorted(coca_search.__all__) == sorted(dir(coca_search))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = coca_search.nonsense


def test_coca_search_exports_the_functions_of_its_packages():
    import indexer
    import search

    assert (coca_search.index, coca_search.search) == (indexer.index, search.search)


def test_importing_coca_search_loads_no_heavy_library(tmp_path):
    done = python(f"import sys, coca_search; print([name for name in {HEAVY} if name in sys.modules])", tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", ["search.py", "ui/__init__.py", "media.py"])
def test_a_file_that_hides_a_package_is_named_in_the_error(tmp_path, installed, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    done = python("import coca_search", tmp_path, installed)
    assert done.returncode == 1
    package = name.split("/")[0].removesuffix(".py")
    said = f"ImportError: {file} hides the package '{package}' of coca-search. Rename it, or run Python from another folder."
    assert done.stderr.strip().splitlines()[-1] == said


def test_the_command_says_it_in_one_line(tmp_path, installed):
    (tmp_path / "search.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "coca_search", "--version"]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"coca-search: {tmp_path / 'search.py'} hides the package 'search'")


def test_a_hidden_package_is_noticed_even_if_it_was_imported_first(tmp_path, installed):
    (tmp_path / "search.py").write_text("")
    assert "hides the package 'search'" in python("import search, coca_search", tmp_path, installed).stderr


def test_a_folder_called_media_without_python_files_hides_nothing(tmp_path, installed):
    (tmp_path / "media").mkdir()
    done = python("import coca_search, media; print(coca_search.__file__, media.__file__)", tmp_path, installed)
    assert done.stdout.count(str(installed)) == 2, done.stderr


def test_an_installed_wheel_loads_the_embedded_model(tmp_path, installed):
    done = python("from coca_search import load; print(load().config.embedding_width)", tmp_path, installed)
    assert done.stdout.strip() == "384", done.stderr


def test_the_wheel_contains_every_package(installed):
    assert {file.parent.name for file in installed.glob("*/__init__.py")} >= {*PACKAGES, "coca_search"}
