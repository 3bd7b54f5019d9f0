"""The image encoder: pixels -> stem -> transformer -> image tokens (paper section 3.1).

Axes: B batch, C H W picture, P patches, D width.
"""

import torch
from torch import Tensor, nn

from coca_model.config import ImageConfig
from coca_model.mobilenet import OUT_CHANNELS, MobileNetV2
from coca_model.transformer import Block


class ImageTower(nn.Module):
    """uint8 pixels (B, H, W, 3) -> image tokens (B, P, D)."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        self.stem: nn.Module
        if config.stem == "patch":
            self.stem = nn.Conv2d(3, config.width, config.patch_size, config.patch_size)
            self.project: nn.Module = nn.Identity()
        else:
            self.stem = MobileNetV2()
            self.project = nn.Linear(OUT_CHANNELS, config.width)
        self.position = nn.Parameter(torch.randn(config.num_patches, config.width) * 0.02)
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
        x = pixels.permute(0, 3, 1, 2).to(self.mean.dtype) / 255.0  # (B, 3, H, W), channels last in memory
        x = self.stem((x - self.mean) / self.std)  # (B, C, H/patch, W/patch)
        return x.flatten(2).transpose(1, 2)  # (B, P, C)

    def encode_map(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Patch features (B, P, C) -> image tokens (B, P, D). `keep` int64 (P',) drops patches, a regulariser in training."""
        x = self.project(features) + self.position  # (B, P, D)
        if keep is not None:
            x = x[:, keep]  # (B, P', D)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)
