"""A client of the service, over HTTP, for the page and for scripts. Needs neither torch nor faiss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from search.errors import NoServiceError, QueryError, ServiceError

DEFAULT_URL = "http://127.0.0.1:8460"


@dataclass(frozen=True)
class RemoteHit:
    """A hit as the service tells it; times in seconds, None for a picture; URLs for a browser."""

    uri: str
    kind: str
    similarity: float
    start_seconds: float | None
    end_seconds: float | None
    frame_seconds: float | None
    media_url: str
    thumbnail_url: str


class Client:
    """Talks to the service at `url`; may be used by several threads at once."""

    def __init__(self, url: str = DEFAULT_URL, *, timeout_seconds: float = 60.0) -> None:
        self.url = url.rstrip("/")
        # Not through a proxy of the environment: the service is on this machine.
        self._http = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """What the service serves: collection, model, version and counts. Raises ServiceError."""
        answer = self._ask("GET", "/healthz")
        if "collection" not in answer:
            raise ServiceError(f"{self.url}: what answers there is not coca-search. Give the address of the service.")
        return answer

    def search(self, text: str, *, k: int = 20, kinds: Sequence[str] = ("image", "shot"), where: str | None = None) -> list[RemoteHit]:
        """The hits for `text`, best first. Raises QueryError for a query the service refuses, else ServiceError."""
        answer = self._ask("POST", "/search", {"text": text, "k": k, "kinds": list(kinds), "where": where})
        try:
            return [RemoteHit(**{name: hit[name] for name in RemoteHit.__dataclass_fields__}) for hit in answer["hits"]]
        except (KeyError, TypeError) as error:
            raise ServiceError(f"{self.url}: an answer without {error}. Use a client and a service of the same version.") from error

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = self._http.request(method, self.url + path, json=body)
        except httpx.ConnectError as error:
            raise NoServiceError(f"{self.url}: no answer ({error}). Start the service with: coca-search serve") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(f"{self.url}: no answer ({error or type(error).__name__}). Is this the address of the service?") from error
        except UnicodeEncodeError as error:
            raise QueryError(f"The query is not text ({error.object[error.start : error.end]!a}). Type it anew.") from error
        answer = _json_object(response)
        if response.status_code == 422 and "detail" in answer:
            raise QueryError(str(answer["detail"]))
        if not response.is_success:
            raise ServiceError(f"{self.url}{path}: {response.status_code} {answer.get('detail', response.text[:200])}")
        if not answer:
            raise ServiceError(f"{self.url}{path}: not an answer of coca-search ({response.text[:80]!r}). Is this the service's address?")
        return answer


def _json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer, empty where it is anything but a JSON object."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
