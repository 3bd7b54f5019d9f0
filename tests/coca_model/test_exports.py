import subprocess
import sys

import pytest

import coca_model


def test_the_exports_are_few_and_sorted():
    assert sorted(coca_model.__all__) == coca_model.__all__
    assert len(coca_model.__all__) <= 10


@pytest.mark.parametrize("name", coca_model.__all__)
def test_every_export_can_be_imported(name):
    assert getattr(coca_model, name).__name__ == name


def test_a_name_that_is_not_exported_is_named():
    with pytest.raises(AttributeError, match="No coca_model attribute Decoder"):
        coca_model.Decoder  # noqa: B018


@pytest.mark.parametrize("statement", ["import coca_model", "from coca_model import CoCaConfig, PictureError", "import coca_model.cli"])
def test_importing_coca_model_does_not_import_torch(statement):
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\nimport sys\nprint('torch' in sys.modules)"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
