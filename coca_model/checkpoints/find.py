"""Where a checkpoint lies: shipped with the project, a folder, a file of open_clip's weights, or the Hugging Face hub.

Two kinds are known. Ours is a folder of `config.json`, `model.safetensors` and `tokenizer.json`; open_clip's is one file of
weights, with `open_clip_config.json` beside it where it comes from the hub.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from coca_model.errors import CheckpointError

CONFIG, WEIGHTS, TOKENIZER = FILES = ("config.json", "model.safetensors", "tokenizer.json")
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # the first that is there
EMBEDDED = "coca-embedded"
CLIP_MERGES = "clip-tokenizer/merges.txt.gz"
_SUFFIXES = (".safetensors", ".bin", ".pt")
_INSTEAD = (
    'Pass "default" for the embedded checkpoint, a folder with '
    f"{', '.join(FILES)}, a file of open_clip's weights ({', '.join(_SUFFIXES)}), or a name of the Hugging Face hub."
)

_BY_HAND = f"Without a network, copy {OPEN_CLIP_WEIGHTS[1]} from its page at huggingface.co, and pass the file. "


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint; `tokenizer` is None where the weights are open_clip's, whose tokens are CLIP's."""

    name: str
    weights: Path
    config: Path | None
    tokenizer: Path | None


def find_checkpoint(name_or_path: str | Path) -> CheckpointFiles:
    """The files of "default", of a folder, of a weights file, or of the download of a Hugging Face "owner/name".

    Raises:
        CheckpointError: there is no such thing, a file of it is missing, or the hub does not give it.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name == "default":
        return _in_folder(EMBEDDED, shipped(EMBEDDED))
    with suppress(OSError, RuntimeError, ValueError):  # too long for a path, no such user, a zero byte: nothing that is there
        path = path.expanduser()
        if path.is_dir():
            return _in_folder(path.resolve().name, path)
        if path.is_file():
            return _file(path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and path.suffix not in _SUFFIXES:
        return _in_folder(name.split("/")[1], _download(name))
    raise CheckpointError(f"{name}: no such checkpoint. {_INSTEAD}")


def shipped(name: str) -> Path:
    """A file or folder of `data/` that ships with the project: inside the package of a wheel, or in a checkout's `data/`."""
    package = Path(__file__).resolve().parents[1]  # coca_model/
    installed = package / name
    return installed if installed.exists() else package.parent / "data" / name


def _in_folder(name: str, folder: Path) -> CheckpointFiles:
    weights = next((folder / file for file in OPEN_CLIP_WEIGHTS if (folder / file).is_file()), None)
    if weights is not None:
        config = folder / OPEN_CLIP_CONFIG
        return CheckpointFiles(name, weights, config if config.is_file() else None, None)
    for file in FILES:
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder / file}: not found, so {str(folder)!r} is no checkpoint. {_INSTEAD}")
    return CheckpointFiles(name, folder / WEIGHTS, folder / CONFIG, folder / TOKENIZER)


def _file(path: Path) -> CheckpointFiles:
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(f"{path}: not a file of weights by its name ({path.suffix!r}). {_INSTEAD}")
    if all((path.parent / file).is_file() for file in FILES) and path.name == WEIGHTS:
        return _in_folder(path.resolve().parent.name, path.parent)
    config = path.parent / OPEN_CLIP_CONFIG
    return CheckpointFiles(path.stem, path, config if config.is_file() else None, None)


def _download(name: str) -> Path:
    """The folder in the hub's cache with the files of `name`: open_clip's if it has them, else ours.

    What is in the cache is used without asking: the model of a collection stays what it was, and works offline.
    """
    from huggingface_hub import hf_hub_download

    try:
        if (folder := _cached(name)) is not None:
            return folder
        if files := _on_hub(name):
            return [Path(hf_hub_download(name, file)).parent for file in files][-1]
    except Exception as error:  # the hub, its HTTP client and the disk raise unrelated kinds; each means that there is no file
        reason = next(iter(str(error).splitlines()), repr(error))
        raise CheckpointError(
            f"{name}: no such folder or file, and the Hugging Face hub did not give it ({reason}). {_BY_HAND}{_INSTEAD}"
        ) from error
    raise CheckpointError(f"{name}: the Hugging Face hub has it, but not as a CoCa of open_clip's or ours. {_INSTEAD}")


def _cached(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for files in (*((OPEN_CLIP_CONFIG, weights) for weights in OPEN_CLIP_WEIGHTS), FILES):
        found = [try_to_load_from_cache(name, file) for file in files]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parent
    return None


def _on_hub(name: str) -> tuple[str, ...]:
    """The files to download; asked without the hub's retries, so that a machine without a network hears of it at once."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def has(file: str) -> bool:
        try:
            get_hf_file_metadata(hf_hub_url(name, file))
        except RemoteEntryNotFoundError:
            return False
        return True

    if has(OPEN_CLIP_CONFIG):
        weights = next((file for file in OPEN_CLIP_WEIGHTS if has(file)), None)
        return () if weights is None else (OPEN_CLIP_CONFIG, weights)
    return FILES if all(has(file) for file in FILES) else ()
