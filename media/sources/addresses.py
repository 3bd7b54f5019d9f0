"""Addresses of files that are not on this machine, such as `s3://bucket/key` and `https://host/path`.

An address is stored in collections and shown in messages, so one that holds a secret is refused: a name and password before the host,
or the signature of a link.
"""

import errno
import os
import re
from pathlib import PurePath
from urllib.parse import quote, unquote, urlsplit

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az", "http": "http", "https": "https"}
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_COLLAPSED = re.compile(r"(s3a?|gs|gcs|az|abfss?|https?):/([^/].*)", re.DOTALL)  # what `pathlib.Path` makes of an address
_SECRET = re.compile(
    r"[?&](x-amz-\w+|x-goog-\w+|signature|sig|\w*token|\w*secret\w*|password|pwd|api_?key|key|awsaccesskeyid|auth\w*)=", re.IGNORECASE
)
_WEB = {"http", "https"}
_BUCKET, _HOST = re.compile(r"[^:@]+"), re.compile(r"([^:@\[\]]+|\[[0-9a-fA-F:.]+\])(:\d*)?")
# `container@account.dfs.core.windows.net` is no secret. A secret key may hold a slash, so what stands before it is enough to refuse.
_HOSTS = {"s3": _BUCKET, "gs": _BUCKET, "az": re.compile(r"[^:@]+(@[^:@]+)?"), "http": _HOST, "https": _HOST}
_NO_HOST = "needs a bucket or host, as in s3://bucket/folder"
_ELSE = "Give an address without secrets. Credentials are read where the tools of the provider read them, such as the environment"


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether this names a file elsewhere, not a path of this machine."""
    return _ADDRESS.match(_text(path)) is not None


def scheme_of(address: str) -> str:
    """`s3`, `gs`, `az`, `http` or `https`."""
    return address.partition("://")[0]


def name_of(uri: str) -> str:
    """The name of a file, by its path or address, as a person reads it."""
    name = uri.rpartition("/")[2]
    return unquote(name) if is_address(uri) and scheme_of(uri) in _WEB else name


def parse_address(path: str | os.PathLike[str]) -> str:
    """The one form of an address, without the slash that may end the address of a folder.

    Raises:
        OSError: an unknown scheme, no bucket or host, or an address with a secret. The message does not show the secret.
    """
    found = _ADDRESS.match(_text(path))
    assert found, path
    scheme, rest = _SCHEMES.get(found[1].lower()), found[2]
    if scheme is None:
        raise OSError(errno.EINVAL, f"{found[1]}:// addresses are not supported. Use a folder, s3://, gs://, az:// or https://")
    host = re.split(r"[/?#]" if scheme in _WEB else "/", rest, maxsplit=1)[0]
    if not _HOSTS[scheme].fullmatch(host):
        what = f"{scheme}://***: the address holds a name or password. {_ELSE}" if ":" in host or "@" in host else f"{scheme}:// {_NO_HOST}"
        raise OSError(errno.EINVAL, what)
    if _SECRET.search(rest) or (scheme in _WEB and "?" in rest):
        raise OSError(errno.EINVAL, f"{without_secrets(f'{scheme}://{rest}')}: what follows the `?` may be a secret. {_ELSE}")
    return _web_address(scheme, rest) if scheme in _WEB else f"{scheme}://{rest}".removesuffix("/")


def without_secrets(text: str) -> str:
    """A message or address without what may be secret in the addresses in it."""
    text = re.sub(r"(\w://)[^\s/@]+@", r"\1***@", text)
    return re.sub(r"(\w://[^\s?'\"]*\?)[^\s'\"]+", r"\1***", text)


def _text(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if isinstance(path, PurePath) and (collapsed := _COLLAPSED.fullmatch(text)):
        return f"{collapsed[1]}://{collapsed[2]}"
    return text


def _web_address(scheme: str, rest: str) -> str:
    """Host in lower case, without the default port; spaces and other letters as a browser sends them."""
    parts = urlsplit(f"{scheme}://{rest}")
    host = parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}[scheme])
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~[]")
    return f"{scheme}://{host}{path}".removesuffix("/")
