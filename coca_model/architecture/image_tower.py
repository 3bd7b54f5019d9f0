"""The image encoder: pixels -> stem -> transformer -> image tokens (paper section 3.1).

Axes: B batch, C H W picture, P patches, D width.
"""

import torch
from torch import Tensor, nn

from coca_model.architecture.config import ImageConfig
from coca_model.architecture.convolutional_stem import OUT_CHANNELS, ConvolutionalStem
from coca_model.architecture.transformer import Block


class ImageTower(nn.Module):
    """uint8 pixels (B, H, W, 3) -> image tokens (B, P, D).

    In open_clip's layout the stem has no bias, a class token precedes the patches (P + 1 tokens), and the norm comes before the
    blocks instead of after them.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        open_clip = config.layout == "open_clip"
        self.stem: nn.Module
        if config.stem == "patch":
            self.stem = nn.Conv2d(3, config.width, config.patch_size, config.patch_size, bias=not open_clip)
            self.project: nn.Module = nn.Identity()
        else:
            self.stem = ConvolutionalStem()
            self.project = nn.Linear(OUT_CHANNELS, config.width)
        self.class_token = nn.Parameter(torch.empty(config.width).normal_(std=0.02)) if open_clip else None
        self.position = nn.Parameter(torch.empty(config.num_patches + open_clip, config.width).normal_(std=0.02))
        self.blocks = nn.Sequential(*(Block(config.width, config.heads, config.mlp_width) for _ in range(config.layers)))
        self.norm = nn.LayerNorm(config.width)
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", config.mean), ("std", config.std)):
            self.register_buffer(name, torch.tensor(values, device="cpu").view(1, 3, 1, 1), persistent=False)

    def units(self) -> list[nn.Module]:
        """The modules that run one after the other: those of the stem, then the transformer blocks."""
        return [*(self.stem.units() if isinstance(self.stem, ConvolutionalStem) else [self.stem]), *self.blocks]

    @property
    def stem_units(self) -> int:
        """The number of units in the stem."""
        return len(self.units()) - len(self.blocks)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (B, H, W, 3), RGB, 0..255 -> (B, P, D)."""
        return self.finish(self.begin(pixels, self.stem_units), self.stem_units)

    def begin(self, pixels: Tensor, units: int) -> Tensor:
        """Pixels uint8 (B, H, W, 3) -> features after the first `units` units. Training caches them if these units are frozen.

        The result is a map (B, H', W', C) inside the stem, and tokens (B, P, C) at its end and after it.
        """
        dtype = next(self.stem.parameters()).dtype
        shift, scale = (-self.mean / self.std).to(dtype), (1 / (255 * self.std)).to(dtype)
        x = torch.addcmul(shift, pixels.permute(0, 3, 1, 2).to(dtype), scale)  # (B, 3, H, W), channels last in memory
        x = self._run_stem(x.permute(0, 2, 3, 1), 0, min(units, self.stem_units))
        if units <= self.stem_units:
            return x
        return self.blocks[: units - self.stem_units](self._embed(x))

    def finish(self, x: Tensor, units: int, keep: Tensor | None = None) -> Tensor:
        """Features from `begin(..., units)` -> image tokens (B, P, D). `keep` int64 (P',) drops the other patches, to regularise."""
        if not torch.is_autocast_enabled(x.device.type):  # cached features may have another dtype than the weights
            x = x.to(self.position.dtype)
        if units <= self.stem_units:
            x = self._embed(self._run_stem(x, units, self.stem_units), keep)  # (B, P', D)
        x = self.blocks[max(0, units - self.stem_units) :](x)
        return x if self.class_token is not None else self.norm(x)

    def _run_stem(self, x: Tensor, start: int, stop: int) -> Tensor:
        """Run the stem's units [start, stop) on a map (B, H', W', C). The result is a map, or tokens (B, P, C) at the stem's end."""
        if start < stop:
            x = x.permute(0, 3, 1, 2)
            x = self.stem(x, start, stop) if isinstance(self.stem, ConvolutionalStem) else self.stem(x)
            x = x.permute(0, 2, 3, 1)  # (B, H', W', C)
            if stop == self.stem_units:
                x = x.flatten(1, 2).to(self.position.dtype)  # (B, P, C)
        return x

    def _embed(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        x = self.project(features)  # (B, P, D)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, P+1, D)
        x = x + self.position
        if keep is not None:
            x = x[:, keep]  # (B, P', D)
        return x if self.class_token is None else self.norm(x)
