"""The image encoder: pixels -> stem -> transformer -> image tokens (paper section 3.1).

Axes: B batch, C H W picture, P patches, D width.
"""

import torch
from torch import Tensor, nn

from coca_model.config import ImageConfig
from coca_model.mobilenet import OUT_CHANNELS, MobileNetV2
from coca_model.transformer import Block


class ImageTower(nn.Module):
    """uint8 pixels (B, H, W, 3) -> image tokens (B, P, D).

    open_clip's layout has no bias in the stem, a class token before the patches (then there are P + 1 tokens), and its norm
    before the blocks instead of behind them.
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
            self.stem = MobileNetV2()
            self.project = nn.Linear(OUT_CHANNELS, config.width)
        self.class_token = nn.Parameter(torch.randn(config.width) * 0.02) if open_clip else None
        self.position = nn.Parameter(torch.randn(config.num_patches + open_clip, config.width) * 0.02)
        self.blocks = nn.ModuleList(Block(config.width, config.heads, config.mlp_width) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(config.mean, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std, device="cpu").view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (B, H, W, 3), RGB, 0..255 -> (B, P, D)."""
        return self.encode_map(self.stem_map(pixels))

    def stem_map(self, pixels: Tensor) -> Tensor:
        """Pixels uint8 (B, H, W, 3) -> patch features (B, P, C) of the stem; with a frozen stem these can be kept."""
        dtype = next(self.stem.parameters()).dtype  # may be finer than that of the blocks, see `machine.stem_dtype`
        shift, scale = (-self.mean / self.std).to(dtype), (1 / (255 * self.std)).to(dtype)
        x = torch.addcmul(shift, pixels.permute(0, 3, 1, 2).to(dtype), scale)  # (B, 3, H, W), channels last in memory
        x = self.stem(x)  # (B, C, H/patch, W/patch)
        return x.flatten(2).transpose(1, 2).to(self.position.dtype)  # (B, P, C)

    def encode_map(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patch features (B, P, C) -> image tokens (B, P, D). `keep` int64 (P',) drops patches, a regulariser in training."""
        x = self.project(features)  # (B, P, D)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1)  # (B, P+1, D)
        x = x + self.position
        if keep is not None:
            x = x[:, keep]  # (B, P', D)
        if self.class_token is not None:
            x = self.norm(x)
        for block in self.blocks:
            x = block(x)
        return x if self.class_token is not None else self.norm(x)
