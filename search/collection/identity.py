"""`collection.json`: the id of a collection, the model of its vectors, and the folders of its roots.

A root is a folder that was indexed. Rows store the id of a root and the path below it. So a library that moved to another drive
or machine is found again after `coca-search roots move`.
"""

import json
import os
import secrets
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_data_path

from media.atomic_write import atomic_write
from media.file_names import escape, unescape
from media.hashing import sha256_of_file
from media.sources.addresses import is_address
from media.sources.choose import source_of
from media.sources.folders import Folders
from search.collection.bucket.place import shown
from search.errors import IncompatibleError, NoCollectionError, OtherModelError, QueryError
from search.vectors.kinds import IndexSettings

if TYPE_CHECKING:
    from coca_model import Encoder
    from coca_model.text_encoder import TextEncoder

FORMAT_VERSION = 2
METRIC = "cosine"
_ELSE = "Restore it from a backup, or index into a new --collection directory."


@dataclass(frozen=True)
class Identity:
    """The content of `collection.json`.

    Attributes:
        collection_id: random; a new collection at the same place has another one.
        model: what `coca_model.load` takes.
        model_id: name of the model and hash of its weights.
        preprocessing_id: how a picture becomes pixels.
        embedding_width: E, the width of a vector.
        roots: absolute folder of each root, by its id.
        migrating_from: the format that the collection had, while a migration is under way.
        leave_out: what the user leaves out, see `indexer.files.leave_out`; None for the default list.
        location: the folder of the collection when this was written.
        root_inodes: the inode of the folder of each root when its files were seen last. The folder under which a drive is mounted has
            another one while the drive is away.
        index: what the owner wants of the search index.
    """

    collection_id: str
    model: str
    model_id: str
    preprocessing_id: str
    embedding_width: int
    roots: Mapping[str, str] = field(default_factory=dict)
    metric: str = METRIC
    format_version: int = FORMAT_VERSION
    migrating_from: int | None = None
    leave_out: tuple[str, ...] | None = None
    location: str = ""
    root_inodes: Mapping[str, int] = field(default_factory=dict)
    index: IndexSettings = field(default_factory=IndexSettings)

    @staticmethod
    def of(encoder: "Encoder", model: str) -> "Identity":
        """The identity of a new collection."""
        return Identity(new_collection_id(), model, encoder.model_id, encoder.preprocessing_id, encoder.config.embedding_width)

    def check(self, encoder: "Encoder | TextEncoder", path: Path, *, model: str | None = None) -> None:
        """Raises OtherModelError if the vectors of `encoder` cannot be compared with those of this collection.

        Args:
            encoder: the model.
            path: the folder of the collection.
            model: what `coca_model.load` took to load it, if it is not the name in this identity.
        """
        self._check("model", self.model_id, encoder.model_id, path, model)
        self._check("preprocessing", self.preprocessing_id, encoder.preprocessing_id, path, model)
        self._check("embedding width", self.embedding_width, encoder.config.embedding_width, path, model)

    def check_weights(self, path: Path) -> None:
        """Raises OtherModelError if the file of the model's weights is another one now. Does not load them, or look on the hub."""
        from coca_model.checkpoints.find import find_checkpoint

        if self.model == "default" or Path(self.model).exists():
            files = find_checkpoint(self.model)
            self._check("model", self.model_id, f"{files.name}@{sha256_of_file(files.weights)[:16]}", path)

    def _check(self, what: str, mine: object, other: object, path: Path, model: str | None = None) -> None:
        if _same(mine, other):
            return
        is_version = what == "model" and str(mine).split("@")[0] == str(other).split("@")[0]
        made = f"another version of the model {self.model}" if is_version else f"another {what}"
        raise OtherModelError(f"{shown(path)}: made with {made} ({mine}, not {other}). {self._advice(path, model)}")

    def _advice(self, path: Path, model: str | None) -> str:
        where = shown(path)
        if is_address(where) or not (path / "collection.json").exists():
            return "Use the same model, or index into a new --collection directory."
        named = "" if model in {None, self.model} else f" --model {shlex.quote(str(model))}"
        into = "" if Path(where) == default_path() else f" --collection {shlex.quote(where)}"
        return f"Make the collection anew with: coca-search index --new-model{named}{into}"

    def fits(self, encoder: "Encoder | TextEncoder") -> bool:
        """Whether the vectors of `encoder` can be compared with those of this collection."""
        return _same(self.model_id, encoder.model_id) and _same(self.preprocessing_id, encoder.preprocessing_id)

    def uri_of(self, root_id: str, path: str) -> str:
        """The absolute path or address of a file."""
        if not root_id:
            return unescape(path)
        root = self.roots.get(root_id, f"(unknown root {root_id})")
        return below(root) + unescape(path).replace("/", os.sep)

    def uris_of(self, root_ids: Iterable[str], paths: Iterable[str]) -> list[str]:
        """The absolute paths of files."""
        above = {root_id: below(root) for root_id, root in self.roots.items()}
        return [
            above[root_id] + path if root_id in above and path.isascii() and os.sep == "/" else self.uri_of(root_id, path)
            for root_id, path in zip(root_ids, paths, strict=True)
        ]

    def locate(self, uri: str) -> tuple[str, str]:
        """Root id and path below it, as they are stored. Takes the innermost root. `("", uri)` if the file is below no root."""
        root = self._folders.innermost(uri)
        if root is None:
            return "", escape(uri)
        return self._ids[root], escape(uri[len(below(root)) :].replace(os.sep, "/")) or "."

    @cached_property
    def _folders(self) -> Folders:
        return Folders(self._ids)

    @cached_property
    def _ids(self) -> dict[str, str]:
        return {root.rstrip("/") or root: root_id for root_id, root in self.roots.items()}

    def with_root(self, folder: str, *, is_mount: bool = False) -> "Identity":
        """The identity with a root for `folder`; unchanged if a root contains it already and it is no drive of its own."""
        if folder in self.roots.values() or (not is_mount and any(is_below(folder, root) for root in self.roots.values())):
            return self
        return replace(self, roots={**self.roots, secrets.token_hex(4): folder})

    def move_root(self, root_id: str, folder: str) -> "Identity":
        """The identity with another folder for a root. Roots inside it move with it. Raises QueryError for an unknown root."""
        before = self.root(root_id)
        inside = {each: root[len(below(before)) :] for each, root in self.roots.items() if is_below(root, before)}
        moved = {each: below(folder) + path if path else folder for each, path in inside.items()}
        return replace(self, roots={**self.roots, **moved})

    def without_root(self, root_id: str) -> "Identity":
        """The identity without a root. Raises QueryError for an unknown one."""
        self.root(root_id)
        return replace(self, roots={each: folder for each, folder in self.roots.items() if each != root_id})

    def find_root(self, text: str) -> str:
        """The id of a root, by its id or its folder. Raises QueryError for an unknown one."""
        folder = source_of(text).resolve(text if is_address(text) else os.path.expanduser(text))  # noqa: PTH111
        found = [root_id for root_id, root in self.roots.items() if root_id == text or root in {folder, text.rstrip("/")}]
        return found[0] if found else self.root(text) and text

    def root(self, root_id: str) -> str:
        """The folder of a root. Raises QueryError for an unknown one."""
        if root_id not in self.roots:
            known = ", ".join(f"{each} ({folder})" for each, folder in self.roots.items()) or "none"
            raise QueryError(f"Unknown root ({root_id}). Known: {known}. List them with: coca-search roots")
        return self.roots[root_id]


def new_collection_id() -> str:
    return secrets.token_hex(16)


def is_below(uri: str, root: str) -> bool:
    """Whether an absolute path or address is the root or lies below it."""
    return uri == root or uri.startswith(below(root))


def below(root: str) -> str:
    """What the paths or addresses of files below a root start with. In a bucket, names may be empty: `s3://bucket/a//b.jpg`."""
    return root + "/" if is_address(root) else root.rstrip(os.sep) + os.sep


def default_path() -> Path:
    """The default folder of the collection: in the user's data directory."""
    return user_data_path("coca-search") / "collection"


def read_identity(path: Path) -> Identity:
    """Read `collection.json` of the current format.

    Raises:
        NoCollectionError: there is none.
        IncompatibleError: a newer or an older format, or a damaged file.
    """
    raw = read_raw_identity(path)
    if raw["format_version"] != FORMAT_VERSION:
        raise IncompatibleError(f"{path}: format {raw['format_version']} must be migrated first. Open it with `open_collection`.")
    try:
        identity = Identity(**{**raw, "index": IndexSettings(**raw.get("index", {}))})
    except (TypeError, QueryError) as error:
        raise IncompatibleError(f"{path / 'collection.json'}: unexpected content ({error}). {_ELSE}") from error
    texts: list[object] = [identity.location, identity.collection_id, identity.model, identity.model_id, identity.preprocessing_id]
    texts += [text for pair in identity.roots.items() for text in pair] if isinstance(identity.roots, dict) else [None]
    leave_out: object = identity.leave_out or []
    texts += leave_out if isinstance(leave_out, list) else [None]
    numbers: list[object] = [identity.embedding_width]
    numbers += identity.root_inodes.values() if isinstance(identity.root_inodes, dict) else [None]
    if not all(type(each) is int for each in numbers) or not all(isinstance(each, str) for each in texts):
        raise IncompatibleError(f"{path / 'collection.json'}: unexpected content (a value of the wrong type). {_ELSE}")
    roots = {root_id: _found(unescape(folder), unescape(identity.location), path) for root_id, folder in identity.roots.items()}
    return replace(identity, roots=roots, leave_out=None if identity.leave_out is None else tuple(identity.leave_out))


def _found(root: str, old: str, path: Path) -> str:
    """The folder of a root. If the collection has moved with its pictures, as on a drive that is mounted elsewhere, so has the root."""
    if not old or "://" in root or (now := os.path.realpath(path)) == old or os.path.exists(root):
        return root
    beside = os.path.normpath(os.path.join(now, os.path.relpath(root, old)))  # noqa: PTH118
    return beside if os.path.isdir(beside) else root


def read_raw_identity(path: Path) -> dict[str, Any]:
    """The content of `collection.json` of this or an older format. Raises NoCollectionError, IncompatibleError."""
    file = path / "collection.json"
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise NoCollectionError(
            f"{shown(path)}: no collection here. Make one with: coca-search index FOLDER --collection {shlex.quote(shown(path))}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise IncompatibleError(f"{file}: cannot be read ({error}). {_ELSE}") from error
    if not isinstance(raw, dict) or type(raw.get("format_version")) is not int or type(raw.get("migrating_from", 1)) is not int:
        raise IncompatibleError(f"{file}: not the identity of a collection. {_ELSE}")
    if raw["format_version"] > FORMAT_VERSION:
        raise IncompatibleError(
            f"{path}: format {raw['format_version']} is newer than this program's ({FORMAT_VERSION}). Upgrade coca-search."
        )
    return raw


def write_identity(path: Path, identity: Identity) -> None:
    roots = {root_id: escape(folder) for root_id, folder in identity.roots.items()}
    values = asdict(identity) | {"roots": roots, "location": escape(os.path.realpath(path))}
    if identity.index == IndexSettings():
        del values["index"]  # programs that do not know it can read the collection
    content = {name: value for name, value in values.items() if value is not None}
    atomic_write(path / "collection.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _same(mine: object, other: object) -> bool:
    """Weights are compared by the hash after the `@`, because their file may have been renamed."""
    return str(mine).rsplit("@")[-1] == str(other).rsplit("@")[-1]
