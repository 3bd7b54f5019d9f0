"""Read and write checkpoints: weights, config and tokenizer.

Reading never runs pickled code, and never resizes or guesses a weight. If a weight is missing, unknown, not finite or of another
shape, an error names it.
"""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from coca_model.architecture.coca import CoCa
from coca_model.architecture.config import CoCaConfig, read_config
from coca_model.checkpoints import open_clip
from coca_model.checkpoints.find import CLIP_MERGES, CONFIG, TOKENIZER, WEIGHTS, CheckpointFiles, shipped
from coca_model.errors import CheckpointError
from coca_model.tokenizer import Tokenizer, clip_tokenizer, load_tokenizer
from media.atomic_write import atomic_write
from media.hashing import sha256_of_file

_TIED, _TIED_TO = "multimodal.output.weight", "unimodal.token_embedding.weight"


def read_checkpoint(files: CheckpointFiles) -> tuple[CoCa, Tokenizer, str]:
    """Read a checkpoint. Returns the float32 model, its tokenizer and the sha256 of its weights' file (hex).

    Raises CheckpointError if names or shapes do not fit the config, a weight is not finite, or a file is damaged.
    """
    weights = _read_weights(files.weights)
    if weights.keys() >= open_clip.MARKS:
        config, weights = _from_open_clip(files, weights)
        tokenizer = clip_tokenizer(shipped(CLIP_MERGES), config.text.context_length)
    elif files.config is None or files.tokenizer is None:
        raise CheckpointError(
            f"{files.weights}: not weights of open_clip's CoCa ({', '.join(list(weights)[:3])} ...). "
            f"Pass a file of one of {', '.join(open_clip.PUBLISHED)}, or the folder of a coca-search checkpoint."
        )
    else:
        config = read_config(files.config)
        tokenizer = load_tokenizer(files.tokenizer, config.text.context_length)
    if tokenizer.vocabulary_size > config.text.vocabulary_size:
        message = f"has {tokenizer.vocabulary_size} tokens. The config allows {config.text.vocabulary_size}."
        raise CheckpointError(f"{files.tokenizer}: {message}")
    return _model(files, config, weights), tokenizer, sha256_of_file(files.weights)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        safe = path.suffix == ".safetensors"
        return open_clip.unwrap(load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True))
    except pickle.UnpicklingError as error:
        reason = "It may run code when it is read, so it was not loaded. Use .safetensors."
        raise CheckpointError(f"{path}: not a plain file of weights. {reason}") from error
    except Exception as error:  # a damaged pickle raises almost anything: KeyError, IndexError, struct.error, AssertionError ...
        reason = next(iter(str(error).splitlines()), repr(error))
        raise CheckpointError(f"{path}: damaged ({reason}). Copy, download or train the checkpoint again.") from error


def _from_open_clip(files: CheckpointFiles, weights: Mapping[str, Tensor]) -> tuple[CoCaConfig, dict[str, Tensor]]:
    what, path = "weights", files.weights
    try:
        config, converted = open_clip.published_config(weights), open_clip.convert_weights(weights)
        if files.config:
            what, path = "config", files.config
            config = open_clip.follow_config(config, json.loads(path.read_text()))
    except (OSError, LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not the {what} of a published CoCa ({error!r}).") from error
    return config, converted


class _Uninitialised(TorchFunctionMode):
    """Skips random initialisation, which imports torch's compiler even on the meta device. That takes a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.normal_ or getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _model(files: CheckpointFiles, config: CoCaConfig, weights: dict[str, Tensor]) -> CoCa:
    """Build the model without initial weights, then assign those of the file."""
    try:
        with torch.device("meta"), _Uninitialised():
            model = CoCa(config)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = f"no CoCa has this config ({error}). Expected the JSON that CoCaConfig.to_json writes."
        raise CheckpointError(f"{files.config}: {reason}") from error
    if config.text.tied_output and _TIED_TO in weights:
        weights[_TIED] = weights[_TIED_TO]
    _check_weights(files.weights, weights, model.state_dict())
    model.load_state_dict({name: tensor.float().contiguous() for name, tensor in weights.items()}, assign=True)
    if config.text.tied_output:
        model.multimodal.output.weight = model.unimodal.token_embedding.weight
    return model.requires_grad_(False).eval()


def _check_weights(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name in {**expected, **found}:
        has, wants = (tuple(side[name].shape) if name in side else None for side in (found, expected))
        if has is None or has != wants:
            found_words, wanted_words = "absent" if has is None else f"of shape {has}", "none" if wants is None else f"shape {wants}"
            raise CheckpointError(f"{path}: {name} is {found_words}. The config asks for {wanted_words}.")
        # If the sum is finite, all terms are (one fast pass). Otherwise check each, because the sum may have overflowed.
        if not found[name].sum(dtype=torch.float32).isfinite() and not found[name].isfinite().all():
            raise CheckpointError(f"{path}: {name} holds NaN or infinity. The checkpoint is damaged or its training diverged.")


def save_checkpoint(folder: Path, model: CoCa, tokenizer: Tokenizer, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint folder. A tied weight is written once."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().to(dtype).contiguous() for name, tensor in model.state_dict().items()}
    if model.config.text.tied_output:
        del state[_TIED]
    atomic_write(folder / WEIGHTS, save(state, metadata={"format": "pt"}))
    (folder / CONFIG).write_text(model.config.to_json())
    tokenizer.save(folder / TOKENIZER)
