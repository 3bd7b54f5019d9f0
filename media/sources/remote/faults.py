"""Faults of networks and servers: tries again what may pass, and says in one sentence what does not.

The libraries of the protocols each have errors of their own, and they may not be installed. So errors are told by HTTP status, by
code, and by the names of their classes.
"""

import errno
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from media.sources.addresses import scheme_of, without_secrets
from media.sources.remote.store import NoRangesError

T = TypeVar("T")
WAITS_SECONDS = (0.2, 0.8, 2.4, 7.2)  # between the attempts, each times 0.5 to 1
CONNECT_SECONDS, READ_SECONDS = 5.0, 20.0

_BUSY_CODES = {
    *("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "InternalError", "ServiceUnavailable"),
    *("ConditionalRequestConflict", "OperationAborted"),
}
OF_THIS_MACHINE = {errno.ENOSYS, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE}
_BUSY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_CONNECTION_ERRORS = {
    *("HTTPClientError", "ConnectionError", "EndpointConnectionError", "IncompleteReadError", "ResponseParserError"),  # botocore
    *("ClientConnectionError", "ClientPayloadError"),  # aiohttp, below s3fs and gcsfs
    *("ServiceRequestError", "ServiceResponseError", "IncompleteReadError"),  # azure
    *("TransportError", "IncompleteRead", "FSTimeoutError"),  # httpx, urllib3, fsspec
}
_CREDENTIAL_ERRORS = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "SSOError", "TokenRetrievalError"),
    *("GoogleAuthError", "ClientAuthenticationError"),
}
_REJECTED_CODES = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RequestTimeTooSkewed"}
_ARCHIVED = "InvalidObjectState"
_CREDENTIALS = {
    "s3": "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for a public bucket FSSPEC_S3_ANON=true",
    "gs": "Log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket "
    "FSSPEC_GS_TOKEN=anon",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}


class ChangedError(OSError):
    """A file was replaced while it was read. The next run reads it again."""


class UnreachableError(ConnectionError):
    """The server does not answer, or only with faults that may pass. The next run tries again."""


def attempt(uri: str, call: Callable[[], T]) -> T:
    """The result of `call`, tried again if the fault may pass.

    Raises:
        FileNotFoundError, PermissionError, ChangedError, UnreachableError, OSError: with a sentence for the user and the address.
    """
    for wait in (*WAITS_SECONDS, None):
        try:
            return call()
        except NoRangesError:
            raise
        except Exception as error:
            plain = plain_error(uri, error)
            if wait is None or not isinstance(plain, UnreachableError):
                raise plain from error
            time.sleep(wait * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


def plain_error(uri: str, error: BaseException) -> OSError:
    """An error of any library as an OSError with one sentence."""
    if isinstance(error, OSError) and (error.filename == uri or error.errno in OF_THIS_MACHINE):
        return error
    names = {base.__name__ for each in _chain(error) for base in type(each).__mro__}
    status, code = (0, "") if names & _CONNECTION_ERRORS else _status_and_code(error)
    detail = code or (f"status {status}" if status else without_secrets(f"{type(error).__name__}: {error}".split("\n")[0][:200]))
    refused = isinstance(error, PermissionError) or status in {401, 403} or bool(names & _CREDENTIAL_ERRORS)
    if refused or code in _REJECTED_CODES | {_ARCHIVED}:
        why = _why_refused(scheme_of(uri), status, code, detail, has_credentials=not names & _CREDENTIAL_ERRORS)
        return PermissionError(errno.EACCES, why, uri)
    if isinstance(error, FileNotFoundError) or status in {404, 410}:
        what = "There is no such bucket" if code == "NoSuchBucket" else "There is no such file or folder, or it was removed meanwhile"
        return FileNotFoundError(errno.ENOENT, what, uri)
    if status in {412, 416} or isinstance(error, ChangedError):
        return ChangedError(errno.ESTALE, "It was replaced while it was read. The next run reads it again", uri)
    if status in _BUSY_STATUS or code in _BUSY_CODES or isinstance(error, TimeoutError | ConnectionError) or names & _CONNECTION_ERRORS:
        tries = len(WAITS_SECONDS) + 1
        return UnreachableError(errno.EHOSTUNREACH, f"No complete answer in {tries} attempts ({detail}). Run the command again later", uri)
    return OSError(errno.EIO, f"It cannot be read ({detail})", uri)


def _why_refused(scheme: str, status: int, code: str, detail: str, *, has_credentials: bool) -> str:
    if code == _ARCHIVED:
        return "It is archived. Restore it first, for example with `aws s3api restore-object`"
    if not has_credentials or status == 401 or code in _REJECTED_CODES:
        what = "The credentials were rejected" if has_credentials else "No credentials can be used"
        return f"{what} ({detail}). {_CREDENTIALS.get(scheme, 'Put name and password into ~/.netrc')}"
    return f"No permission ({detail}). Check what the credentials allow"


def cut_short(num_bytes: int, expected: int) -> ConnectionError:
    """The error for an answer with too few or too many bytes."""
    return ConnectionError(f"{num_bytes} instead of {expected} bytes")


def is_no_range(error: BaseException) -> bool:
    """Whether a server says that a file does not have the bytes that were asked for."""
    return _status_and_code(error)[0] == 416


def missing_package(scheme: str) -> OSError:
    """The error if the library of a protocol is not installed."""
    return OSError(errno.ENOSYS, f"{scheme}:// addresses need another package. Install it with: pip install 'coca-search[{scheme}]'")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it."""
    each: BaseException | None = error
    for _ in range(8):
        if each is None:
            return
        yield each
        each = each.__cause__ or each.__context__


def _status_and_code(error: BaseException) -> tuple[int, str]:
    """The HTTP status and the code of the provider; 0 and empty if there are none."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):  # botocore
            code = str(response.get("Error", {}).get("Code", ""))
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return int(status or 0), "" if code.isdigit() else code
        for holder in (response, each):
            for name in ("status_code", "status", "code"):
                if isinstance(status := getattr(holder, name, None), int) and 400 <= status < 600:
                    return status, ""
    return 0, ""
