"""A client of the service, over HTTP, for the page and for scripts. Needs neither torch nor faiss."""

from collections.abc import Sequence
from typing import Any

import httpx

from search.errors import NoServiceError, QueryError, ServiceError
from search.hits import RemoteHit
from search.request import SearchRequest
from search.schema import Kind

DEFAULT_URL = "http://127.0.0.1:8460"


class Client:
    """Talks to the service at `url`. Several threads may use it at once."""

    def __init__(self, url: str = DEFAULT_URL, *, timeout_seconds: float = 60.0) -> None:
        self.url = url.rstrip("/")
        # Ignore proxies of the environment: the service is on this machine.
        self._http = httpx.Client(timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> dict[str, Any]:
        """What the service serves: collection, model, version and counts. Raises ServiceError."""
        answer = self._ask("GET", "/healthz")
        if "collection" not in answer:
            raise ServiceError(f"{self.url}: the program that answers there is not coca-search. Give the address of the service.")
        return answer

    def search(self, text: str, *, k: int = 20, kinds: Sequence[Kind] = ("image", "shot"), where: str | None = None) -> list[RemoteHit]:
        """The hits for `text`, best first. Raises as `answer`."""
        return self.answer(SearchRequest(text, k, tuple(kinds), where))

    def answer(self, request: SearchRequest) -> list[RemoteHit]:
        """The hits of a request, best first. Raises QueryError if the service rejects the query, else ServiceError."""
        answer = self._ask("POST", "/search", request.to_wire())
        try:
            return [RemoteHit.from_wire(hit) for hit in answer["hits"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceError(f"{self.url}: unexpected answer ({error}). Use a client and a service of the same version.") from error

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = self._http.request(method, self.url + path, json=body)
        except httpx.ConnectError as error:
            raise NoServiceError(f"{self.url}: no answer ({error}). Start the service with: coca-search serve") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServiceError(f"{self.url}: no answer ({error or type(error).__name__}). Is this the address of the service?") from error
        except UnicodeEncodeError as error:
            raise QueryError(f"The query is not text ({error.object[error.start : error.end]!a}). Type it again.") from error
        answer = _json_object(response)
        if response.status_code == 422 and "detail" in answer:
            raise QueryError(str(answer["detail"]))
        if not response.is_success:
            raise ServiceError(f"{self.url}{path}: {response.status_code} {answer.get('detail', response.text[:200])}")
        if not answer:
            raise ServiceError(
                f"{self.url}{path}: not an answer of coca-search ({response.text[:80]!r}). Is this the address of the service?"
            )
        return answer


def _json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer; empty if it is not a JSON object."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}
