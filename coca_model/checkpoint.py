"""A checkpoint is a folder: `config.json`, `model.safetensors`, `tokenizer.json`.

The embedded default lies in `data/` of a checkout and inside the package of an installed wheel.
"""

import hashlib
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from coca_model.coca import CoCa
from coca_model.config import CoCaConfig, read_config
from coca_model.errors import CheckpointError
from coca_model.tokenizer import Tokenizer, load_tokenizer

CONFIG, WEIGHTS, TOKENIZER = FILES = ("config.json", "model.safetensors", "tokenizer.json")
EMBEDDED = "coca-embedded"
_TIED, _TIED_TO = "multimodal.output.weight", "unimodal.token_embedding.weight"


def find_checkpoint(name_or_path: str | Path) -> Path:
    """The folder of a checkpoint: the embedded one for "default", a given folder, or the download of a Hugging Face "owner/name".

    Raises:
        CheckpointError: there is no such folder, a file of it is missing, or the hub does not give it.
    """
    name = str(name_or_path)
    folder = _embedded_folder() if name == "default" else Path(name_or_path).expanduser()
    if not folder.is_dir() and re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        folder = _download(name)
    for file in FILES:
        if not (folder / file).is_file():
            raise CheckpointError(
                f"{folder / file}: not found, so {name!r} is no checkpoint. "
                f'Pass "default" for the embedded one, or a folder with {", ".join(FILES)}.'
            )
    return folder


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), repr(error))
        raise CheckpointError(
            f"{name}: no such folder, and the Hugging Face hub did not give it ({reason}). "
            'Pass "default" for the embedded one, or a folder.'
        ) from error


def _embedded_folder() -> Path:
    package = Path(__file__).resolve().parent
    installed = package / EMBEDDED
    return installed if installed.is_dir() else package.parent / "data" / EMBEDDED


def read_checkpoint(folder: Path) -> tuple[CoCa, Tokenizer, str]:
    """Read a checkpoint folder. Returns the float32 model, its tokenizer and the sha256 of its weights (hex).

    Raises:
        CheckpointError: names or shapes do not fit the config, a weight is not finite, or a file is damaged.
    """
    config = read_config(folder / CONFIG)
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged ({error}). Copy or train the checkpoint again.") from error
    model = _without_weights(config, folder / CONFIG)
    if config.text.tied_output:
        weights.pop(_TIED, None)
    expected = {name: tensor.shape for name, tensor in model.state_dict().items() if name != _TIED or not config.text.tied_output}
    _check_weights(path, {name: tensor.shape for name, tensor in weights.items()}, expected)
    if bad := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(f"{path}: {bad[0]} holds NaN or infinity. The checkpoint is damaged or its training diverged.")
    if config.text.tied_output:
        weights[_TIED] = weights[_TIED_TO]
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    if config.text.tied_output:
        model.multimodal.output.weight = model.unimodal.token_embedding.weight
    model.requires_grad_(False)
    tokenizer = load_tokenizer(folder / TOKENIZER, config.text.context_length)
    if tokenizer.vocabulary_size > config.text.vocabulary_size:
        raise CheckpointError(
            f"{folder / TOKENIZER}: has {tokenizer.vocabulary_size} tokens. The config allows {config.text.vocabulary_size}."
        )
    return model.eval(), tokenizer, sha256_of(path)


def _without_weights(config: CoCaConfig, path: Path) -> CoCa:
    """The model on the meta device: no time is lost on random weights that are replaced at once."""
    try:
        with torch.device("meta"):
            return CoCa(config)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: no CoCa has this config ({error}). Expected the JSON that CoCaConfig.to_json writes.") from error


def _check_weights(path: Path, found: dict[str, torch.Size], expected: dict[str, torch.Size]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            has = "absent" if name not in found else f"of shape {tuple(found[name])}"
            wants = "none" if name not in expected else f"shape {tuple(expected[name])}"
            raise CheckpointError(f"{path}: {name} is {has}. The config asks for {wants}.")


def save_checkpoint(folder: Path, model: CoCa, tokenizer: Tokenizer, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint folder; a weight that is tied to another is written once."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    if model.config.text.tied_output:
        del state[_TIED]
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(model.config.to_json())
    tokenizer.save(folder / TOKENIZER)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
