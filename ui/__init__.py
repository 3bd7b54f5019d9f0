"""The Streamlit page and the command that opens it; over HTTP, through `search.client`."""

__all__: list[str] = []
