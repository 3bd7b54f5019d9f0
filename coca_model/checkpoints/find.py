"""Find the files of a checkpoint: shipped with the project, in a folder, as one file of weights, or on the Hugging Face hub.

There are two formats. A coca-search checkpoint is a folder of `config.json`, `model.safetensors` and `tokenizer.json`. An open_clip
checkpoint is one file of weights; on the hub, `open_clip_config.json` lies beside it.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from coca_model.errors import CheckpointError

CONFIG, WEIGHTS, TOKENIZER = FILES = ("config.json", "model.safetensors", "tokenizer.json")
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # in order of preference
EMBEDDED = "coca-embedded"
CLIP_MERGES = "clip-tokenizer/merges.txt.gz"
_SUFFIXES = (".safetensors", ".bin", ".pt")
_FORMATS = (*((OPEN_CLIP_CONFIG, weights) for weights in OPEN_CLIP_WEIGHTS), FILES)  # on the hub, in order of preference
_INSTEAD = (
    f'Pass "default" for the embedded checkpoint, a folder with {", ".join(FILES)}, '
    f"a file of open_clip's weights ({', '.join(_SUFFIXES)}), or the name of a model on the Hugging Face hub."
)
_BY_HAND = f"On a machine without network, copy {OPEN_CLIP_WEIGHTS[1]} from its page on huggingface.co, and pass the file. "


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint."""

    name: str
    weights: Path
    config: Path | None = None
    tokenizer: Path | None = None  # None for open_clip's weights, which use CLIP's tokenizer


def find_checkpoint(name_or_path: str | Path) -> CheckpointFiles:
    """The files of "default", of a folder, of a file of weights, or of a Hugging Face "owner/name", which is downloaded once.

    Raises CheckpointError if nothing is found, a file is missing, or the download fails.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name == "default":
        return _in_folder(EMBEDDED, shipped(EMBEDDED))
    with suppress(OSError, RuntimeError, ValueError):  # too long for a path, unknown user, a zero byte: no such file
        path = path.expanduser()
        if path.is_dir():
            return _in_folder(path.resolve().name, path)
        if path.is_file():
            return _file(path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and path.suffix not in _SUFFIXES:
        return _in_folder(name.split("/")[1], _download(name))
    raise CheckpointError(f"{name}: no such checkpoint. {_INSTEAD}")


def lasting_name(name: str) -> str:
    """An existing path as an absolute one, because later runs may start in another folder. Other names do not change.

    Links stay: in the hub's cache they lead to files without a suffix, and without a config beside them.
    """
    with suppress(OSError, RuntimeError):  # too long for a path, or no such user: `find_checkpoint` reports it
        path = Path(name).expanduser().absolute()
        if name != "default" and path.exists():
            return str(path)
    return name


def shipped(name: str) -> Path:
    """A file or folder that ships with the project: inside the package of a wheel, or in the `data/` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    return package / name if (package / name).exists() else package.parent / "data" / name


def _in_folder(name: str, folder: Path) -> CheckpointFiles:
    for file in OPEN_CLIP_WEIGHTS:
        if (folder / file).is_file():
            return _open_clip(name, folder / file)
    for file in FILES:
        if not (folder / file).is_file():
            raise CheckpointError(f"{folder / file}: not found, so {str(folder)!r} is not a checkpoint. {_INSTEAD}")
    return CheckpointFiles(name, folder / WEIGHTS, folder / CONFIG, folder / TOKENIZER)


def _file(path: Path) -> CheckpointFiles:
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(f"{path}: unknown suffix for a file of weights ({path.suffix!r}). {_INSTEAD}")
    if path.name == WEIGHTS and all((path.parent / file).is_file() for file in FILES):
        return _in_folder(path.resolve().parent.name, path.parent)
    return _open_clip(path.stem, path)


def _open_clip(name: str, weights: Path) -> CheckpointFiles:
    config = weights.parent / OPEN_CLIP_CONFIG
    return CheckpointFiles(name, weights, config if config.is_file() else None)


def _download(name: str) -> Path:
    """The folder of `name` in the hub's cache, downloaded if it is not there.

    A cached checkpoint is used without asking the hub, so a collection keeps its model and works offline. Files are looked up without
    retries, so that a missing network is reported at once.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import RemoteEntryNotFoundError

    def is_cached(file: str) -> bool:
        return isinstance(try_to_load_from_cache(name, file), str)

    @cache
    def is_on_hub(file: str) -> bool:
        try:
            get_hf_file_metadata(hf_hub_url(name, file))
        except RemoteEntryNotFoundError:
            return False
        return True

    try:
        for has, is_local in ((is_cached, True), (is_on_hub, False)):
            for files in _FORMATS:
                if all(map(has, files)):
                    return [Path(hf_hub_download(name, file, local_files_only=is_local)).parent for file in files][-1]
    except Exception as error:  # the hub, its HTTP client and the disk raise unrelated errors; each means that the file cannot be had
        reason = next(iter(str(error).splitlines()), repr(error))
        raise CheckpointError(
            f"{name}: no such folder or file, and the download from the Hugging Face hub failed ({reason}). {_BY_HAND}{_INSTEAD}"
        ) from error
    raise CheckpointError(f"{name}: this repository of the Hugging Face hub contains no CoCa of open_clip or coca-search. {_INSTEAD}")
