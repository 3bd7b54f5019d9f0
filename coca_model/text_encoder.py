"""The unimodal text tower in NumPy, so that a search by words needs no torch, whose import takes longer than the search.

The same function as `Encoder.encode_texts` in float32 (paper section 3.2, unimodal text decoder). It reads only the text weights.

Axes: R texts, T text length with CLS, D width, H heads, E embedding.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from coca_model.architecture.config import CoCaConfig, read_config
from coca_model.checkpoints import open_clip
from coca_model.checkpoints.find import CLIP_MERGES, find_checkpoint, shipped
from coca_model.errors import CheckpointError
from coca_model.tokenizer import TEXT_BATCH, Tokenizer, batches_by_length, clip_tokenizer, load_tokenizer
from media.blas_threads import one_blas_thread
from media.hashing import sha256_of_file

if TYPE_CHECKING:
    from coca_model.encoder import Encoder

Array = NDArray[np.float32]
_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_MAX_HEADER = 100_000_000  # bytes; the limit of safetensors


class TextEncoder:
    """The text tower of a CoCa. `text_encoder` makes one. Several threads may use it at once."""

    def __init__(self, config: CoCaConfig, weights: dict[str, Array], tokenizer: Tokenizer, *, model_id: str) -> None:
        self.config, self.model_id, self.preprocessing_id = config, model_id, config.image.preprocessing_id
        self._weights, self._tokenizer = weights, tokenizer

    def encode_texts(self, texts: Sequence[str]) -> Array:
        """N texts -> float32 (N, E), each row of L2 norm 1. A text longer than the context is cut, with a warning."""
        token_ids, valid = self._tokenizer.encode(texts)
        vectors = np.zeros((len(token_ids), self.config.embedding_width), np.float32)
        with one_blas_thread:
            for rows, ids, mask in batches_by_length(token_ids, valid, TEXT_BATCH):
                vectors[rows] = self._embed(ids, mask)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def _embed(self, token_ids: NDArray[np.int64], valid: NDArray[np.bool_]) -> Array:
        """The same as `UnimodalDecoder.forward`: token ids (R, T-1) -> embedding (R, E), not normalised."""
        text, weights = self.config.text, self._weights
        is_open_clip = text.layout == "open_clip"
        if is_open_clip and token_ids.shape[1] < text.context_length:  # its CLS also attends to the first padding token
            token_ids, valid = np.pad(token_ids, ((0, 0), (0, 1))), np.pad(valid, ((0, 0), (0, 1)))
        position = weights["position"].astype(np.float32)
        x = weights["token_embedding.weight"][token_ids].astype(np.float32) + position[: token_ids.shape[1]]  # (R, T-1, D)
        cls = weights["cls"] + position[-1] if is_open_clip else weights["cls"]
        x = np.concatenate([x, np.broadcast_to(cls, (len(x), 1, text.width))], axis=1)  # (R, T, D)
        one = np.ones((len(valid), 1), bool)
        visible = np.concatenate([one, valid] if is_open_clip else [valid, one], axis=1)  # (R, T); open_clip shifts the mask by one
        mask = np.tri(x.shape[1], dtype=bool) & visible[:, None, None, :]  # (R, 1, T, T)
        for layer in range(text.unimodal_layers):
            x = self._block(f"blocks.{layer}.", x, mask, num_queries=1 if layer == text.unimodal_layers - 1 else x.shape[1])
        return self._norm("cls_norm", x[:, -1]) @ weights["project.weight"].T  # (R, E)

    def _block(self, name: str, x: Array, mask: NDArray[np.bool_], *, num_queries: int) -> Array:
        """A pre-norm block: x (R, T, D) -> its last `num_queries` tokens. CLS alone is wanted of the last block."""
        normed = self._norm(f"{name}attention_norm", x)
        key, value = np.split(self._linear(f"{name}attention.key_value", normed), 2, axis=-1)
        query = self._linear(f"{name}attention.query", normed[:, -num_queries:])
        heads, width = self.config.text.heads, x.shape[-1]
        query, key, value = (each.reshape(*each.shape[:2], heads, width // heads).swapaxes(1, 2) for each in (query, key, value))
        scores = query @ key.swapaxes(2, 3) / np.float32(np.sqrt(query.shape[-1]))  # (R, H, num_queries, T)
        scores = np.where(mask[:, :, -num_queries:], scores, np.float32(-np.inf))
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value  # (R, H, num_queries, D/H)
        mixed = mixed.swapaxes(1, 2).reshape(len(x), num_queries, width)  # (R, num_queries, D)
        x = x[:, -num_queries:] + self._linear(f"{name}attention.output", mixed)
        return x + self._linear(f"{name}mlp.2", _gelu(self._linear(f"{name}mlp.0", self._norm(f"{name}mlp_norm", x))))

    def _linear(self, name: str, x: Array) -> Array:
        """From x (R, T, in) to (R, T, out). For a single query, OpenBLAS takes half as long for weights times x as for x times weights."""
        weight = self._weights[f"{name}.weight"]
        product = (weight @ x.reshape(-1, x.shape[-1]).T).T
        return product.reshape(*x.shape[:-1], len(weight)) + self._weights[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        x = x - x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-5))
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def text_encoder(name_or_path: str | Path = "default") -> "TextEncoder | Encoder":
    """What encodes the texts of a model: a `TextEncoder`, or the whole `Encoder` if only torch can read the weights.

    The whole encoder also reports what is wrong with a checkpoint. Raises CheckpointError as `load`.
    """
    files = find_checkpoint(name_or_path)
    if files.weights.suffix == ".safetensors":
        try:
            config, weights = _read(files.weights, files.config)
            if files.tokenizer is None:
                tokenizer = clip_tokenizer(shipped(CLIP_MERGES), config.text.context_length)
            else:
                tokenizer = load_tokenizer(files.tokenizer, config.text.context_length)
            _check(config, weights, tokenizer)
            return TextEncoder(config, weights, tokenizer, model_id=f"{files.name}@{sha256_of_file(files.weights)[:16]}")
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, CheckpointError):
            pass  # torch may read it, or says what is wrong
    from coca_model.encoder import load

    return load(name_or_path)


def needs_torch(name_or_path: str | Path) -> bool:
    """Whether only torch can read the weights, as far as the name of their file says. Raises CheckpointError if there are none."""
    return find_checkpoint(name_or_path).weights.suffix != ".safetensors"


def _read(path: Path, config_path: Path | None) -> tuple[CoCaConfig, dict[str, Array]]:
    """The config, and the weights of the text tower without the prefix `unimodal.`. The embedding of tokens keeps its dtype."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > _MAX_HEADER:
            raise ValueError(f"a header of {size} bytes")
        header = json.loads(file.read(size))
        if not isinstance(header, dict):
            raise ValueError("a header that is no JSON object")
        if header.keys() >= open_clip.MARKS:
            shapes = {name: np.broadcast_to(np.float32(0), each["shape"]) for name, each in header.items() if name != "__metadata__"}
            config = open_clip.published_config(shapes)
            if config_path is not None:
                config = open_clip.follow_config(config, json.loads(config_path.read_text()))
            names = [name for name in header if name.startswith("text.") and not name.endswith("attn_mask")]
            raw = open_clip.convert_weights({name: _tensor(file, 8 + size, header[name]) for name in names})
        else:
            config = read_config(config_path) if config_path else CoCaConfig()
            raw = {name: _tensor(file, 8 + size, each) for name, each in header.items() if name.startswith("unimodal.")}
    return config, {name.removeprefix("unimodal."): np.ascontiguousarray(each) for name, each in raw.items()}


def _tensor(file: BinaryIO, data: int, entry: dict[str, Any]) -> NDArray[Any]:
    start, stop = entry["data_offsets"]
    file.seek(data + start)
    values = np.frombuffer(file.read(stop - start), _DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values if entry["dtype"] == "F16" and values.shape[0] > 10_000 else values.astype(np.float32)  # rows of words: on use


def _check(config: CoCaConfig, weights: dict[str, Array], tokenizer: Tokenizer) -> None:
    """Raises ValueError if a weight is missing, of another shape or not finite, or if the tokenizer has more tokens than the model."""
    text = config.text
    width, mlp = text.width, text.mlp_width
    linear = {"attention.query": (width, width), "attention.key_value": (2 * width, width), "attention.output": (width, width)}
    linear |= {"mlp.0": (mlp, width), "mlp.2": (width, mlp)}
    shapes: dict[str, tuple[int, ...]] = {"cls": (width,), "project.weight": (config.embedding_width, width)}
    shapes["position"] = (text.context_length + (text.layout == "open_clip"), width)
    shapes["token_embedding.weight"] = (text.vocabulary_size, width)
    norms = ["cls_norm"]
    for layer in range(text.unimodal_layers):
        norms += [f"blocks.{layer}.{name}" for name in ("attention_norm", "mlp_norm")]
        for name, shape in linear.items():
            shapes |= {f"blocks.{layer}.{name}.weight": shape, f"blocks.{layer}.{name}.bias": shape[:1]}
    shapes |= {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    if {name: each.shape for name, each in weights.items()} != shapes or tokenizer.vocabulary_size > text.vocabulary_size:
        raise ValueError("the weights do not fit the config")
    if not all(np.isfinite(each).all() for each in weights.values()):
        raise ValueError("a weight is not finite")


def _gelu(x: Array) -> Array:
    """GELU. The error function is formula 7.1.26 of Abramowitz and Stegun (1964), with an error below 1.5e-7."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * np.float32(1.061405429)))))
    erf = np.copysign(1 - poly * np.exp(-z * z), x)
    return x * (1 + erf) / 2
