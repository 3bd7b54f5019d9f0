"""Compares our outputs with open_clip 3.3.0, for both `coca_ViT-*` models with the same random weights: `make parity`.

Prints the largest difference of each output in float32, and fails if one is above 1e-4. With `--record FILE` it also writes the outputs of
a tiny open_clip model. `make test` compares with them, without open_clip.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.open_clip_side import NAME, SENTENCES, crops, open_clip, our_encoder, photographs, random_weights, their_model, their_pixels
from coca_model.checkpoints.open_clip import PUBLISHED
from coca_model.preprocess import to_square

ALLOWED = 1e-4
TINY = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "width": 128, "layers": 2, "attentional_pool": True, "attn_pooler_heads": 2,
        "attn_pooler_queries": 5, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 12, "vocab_size": 40, "width": 24, "heads": 3, "layers": 2, "embed_cls": True, "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 12, "vocab_size": 40, "width": 24, "heads": 3, "layers": 2},
}  # fmt: skip


def compare(name: str) -> dict[str, float]:
    """The largest difference of each output of one model."""
    theirs = their_model(name)
    ours = our_encoder(name, theirs, torch.float32)
    pixels = crops(3, ours.config.image.image_size)
    token_ids = open_clip().get_tokenizer(name)(list(SENTENCES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # one sentence is longer than the context on purpose
        our_ids, valid = map(torch.from_numpy, ours._tokenizer.encode(SENTENCES))
    padded = torch.nn.functional.pad(our_ids, (0, token_ids.shape[1] - our_ids.shape[1]))
    with torch.inference_mode():
        image, text = theirs.encode_image(their_pixels(pixels, name)), theirs.encode_text(token_ids)
        outputs = [theirs(their_pixels(pixels[i : i + 1], name), token_ids[i : i + 1], output_labels=False)["logits"] for i in range(3)]
        caption_tokens = ours.encode_image_tokens(list(pixels))
        _, text_tokens = ours._model.unimodal(our_ids[:3], valid[:3])
        logits = ours._model.multimodal(text_tokens, caption_tokens)
        losses = torch.nn.functional.cross_entropy(torch.cat(outputs)[:, :-1].mT, token_ids[:3, 1:], ignore_index=0, reduction="none")
    words = valid[:3, :, None]
    return {
        "image embedding": float(np.abs(ours.encode_pixels(pixels) - image.numpy()).max()),
        "text embedding": float(np.abs(ours.encode_texts(SENTENCES) - text.numpy()).max()),
        "caption logits": float(((logits - torch.cat(outputs)[:, : logits.shape[1]]) * words).abs().max()),
        "log p(text | image)": float(np.abs(np.diag(ours.score(list(pixels), SENTENCES[:3])) + losses.sum(1).numpy()).max()),
        "tokens that differ": float((padded != token_ids).sum()),
    }


def compare_preprocessing() -> float:
    """Mean absolute difference between our pixels and those of open_clip's transform, in units of 1/255: the worst of six photographs."""
    transform = open_clip().transform.image_transform(224, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    photos = [Image.fromarray(photo) for photo in photographs()]
    both = [(to_square(photo, PUBLISHED[NAME].image), transform(photo).permute(1, 2, 0).numpy() * 255) for photo in photos]
    return float(max(np.abs(ours - theirs).mean() for ours, theirs in both))


def record(path: Path) -> None:
    """Write the outputs of a tiny open_clip model with `random_weights`."""
    model = open_clip().coca_model.CoCa(**TINY).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(random_weights(shapes))
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    token_ids = np.zeros((4, 12), np.int64)
    for row, length in zip(token_ids, (2, 5, 11, 12), strict=True):
        row[:length] = [38, *random.integers(1, 38, length - 2), 39]
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        out = model(x, torch.from_numpy(token_ids), output_labels=False)
    arrays = {key: out[key].numpy() for key in ("image_features", "text_features", "logits")}
    np.savez_compressed(path, pixels=pixels, token_ids=token_ids, shapes=np.array(json.dumps(shapes)), **arrays)


def main() -> None:
    """Compare and print. Fail if a difference is above `ALLOWED`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=Path, help="write the golden arrays of `make test`")
    options = parser.parse_args()
    results = {name: compare(name) for name in PUBLISHED}
    pixels = compare_preprocessing()
    for name, differences in results.items():
        print(*(f"{name}  {what:22} {difference:.2e}" for what, difference in differences.items()), sep="\n")
    print(f"preprocessing, mean absolute difference {pixels:.3f}/255")
    if options.record:
        record(options.record)
    print(json.dumps({**results, "preprocessing": pixels}))
    if max(max(differences.values()) for differences in results.values()) > ALLOWED or pixels > 1:
        sys.exit(f"A difference is above {ALLOWED}, or preprocessing differs by more than 1/255.")


if __name__ == "__main__":
    main()
