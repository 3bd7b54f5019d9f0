from pathlib import Path

import pytest

from media.sources.addresses import is_address, parse_address, without_secrets
from media.sources.choose import source_of


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/a/b.jpg", "s3://bucket/a/b.jpg"),
        ("s3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket/", "s3://bucket"),
        ("S3A://Bucket/A b#c?d", "s3://Bucket/A b#c?d"),
        ("gcs://bucket/x", "gs://bucket/x"),
        ("abfs://container/x", "az://container/x"),
        ("az://container@account.dfs.core.windows.net/x", "az://container@account.dfs.core.windows.net/x"),
        ("HTTPS://Example.org:443/A b/ü.jpg#top", "https://example.org/A%20b/%C3%BC.jpg"),
        ("http://example.org:8080/a%20b.jpg", "http://example.org:8080/a%20b.jpg"),
        ("http://[::1]:8080/a.jpg", "http://[::1]:8080/a.jpg"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        (Path("https://example.org/a"), "https://example.org/a"),
    ],
)
def test_an_address_has_one_form(given, address):
    assert is_address(given)
    assert parse_address(given) == address


@pytest.mark.parametrize("path", ["/a/b", "a", "C:\\a", "./s3:/a", Path("/a/s3:/b"), "a:/b", ""])
def test_a_path_is_no_address(path):
    assert not is_address(path)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIDEXAMPLE:hidden@bucket/a.jpg",
        "s3://hidden@bucket/a.jpg",
        "s3://AKIDEXAMPLE:hidden/with/slash@bucket/a.jpg",
        "https://user:hidden/with/slash@example.org/a.jpg",
        "gs://name:hidden@bucket",
        "https://user:hidden@example.org/a.jpg",
        "https://hidden@example.org",
        "az://container:hidden@account/a.jpg",
        "https://bucket.s3.amazonaws.com/a.jpg?X-Amz-Signature=hidden&X-Amz-Credential=x",
        "https://storage.googleapis.com/b/a.jpg?X-Goog-Signature=hidden",
        "https://account.blob.core.windows.net/c/a.jpg?sv=2024&sig=hidden",
        "https://example.org/a.jpg?hidden",
        "s3://bucket/a.jpg?X-Amz-Signature=hidden",
        "az://container/a.jpg?sv=1&sig=hidden",
    ],
)
def test_an_address_with_a_secret_is_refused_and_the_secret_not_shown(address):
    for use in (parse_address, source_of):
        with pytest.raises(OSError, match="Give an address without secrets") as caught:
            use(address)
        assert "hidden" not in f"{caught.value} {caught.value.filename}"


@pytest.mark.parametrize(
    ("address", "message"),
    [("ftp://host/a", "ftp:// addresses are not supported"), ("s3:///a", "needs a bucket or host"), ("https://", "needs a bucket or host")],
)
def test_an_address_that_cannot_be_used_is_refused(address, message):
    with pytest.raises(OSError, match=message):
        source_of(address)


def test_secrets_are_taken_out_of_messages():
    text = "403, url='https://me:pw@h/a?X-Amz-Signature=abc&b=c' and s3://b/k?token=x."
    assert without_secrets(text) == "403, url='https://***@h/a?***' and s3://b/k?***"
