import pickle

import pytest

from media.errors import MediaError, PictureError


@pytest.mark.parametrize("kind", [MediaError, PictureError])
def test_an_error_names_its_file_and_can_be_pickled(kind):
    error = pickle.loads(pickle.dumps(kind("decode", "damaged", "a.jpg")))
    assert (str(error), error.stage, error.reason, error.name) == ("a.jpg: damaged", "decode", "damaged", "a.jpg")
    assert str(kind("probe", "damaged")) == "damaged"
