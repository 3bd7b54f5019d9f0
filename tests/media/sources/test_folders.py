import pytest

from media.sources.folders import Folders


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/a/b/x.jpg", "/a/b"),
        ("/a/b", "/a/b"),
        ("/a/bc/x.jpg", "/a"),
        ("/a/x/y/z/q.jpg", "/a"),
        ("/c/x.jpg", None),
        ("/", None),
        ("s3://bucket/k/x.jpg", "s3://bucket/k"),
        ("s3://bucket/x.jpg", None),
    ],
)
def test_the_innermost_folder_is_found(uri, expected):
    folders = Folders(["/a", "/a/b/", "s3://bucket/k"])
    assert [folders.innermost(uri), folders.innermost(uri)] == [expected, expected]
    assert (uri in folders) == (expected is not None)


def test_the_root_of_the_file_system_contains_everything():
    assert Folders(["/"]).innermost("/a/b.jpg") == "/"


def test_a_path_deeper_than_python_recurses_is_found():
    assert Folders(["/a"]).innermost("/a" + "/b" * 3000) == "/a"
