"""CoCa: image tower, poolers and text decoders together (Yu et al. 2022, arXiv 2205.01917, figure 2).

Axes: B batch, H W picture, D width, E embedding, Q caption queries.
"""

import math

import torch
from torch import Tensor, nn

from coca_model.architecture.config import CoCaConfig
from coca_model.architecture.image_tower import ImageTower
from coca_model.architecture.poolers import ImagePoolers
from coca_model.architecture.text_decoders import MultimodalDecoder, UnimodalDecoder


class CoCa(nn.Module):
    """The whole model, with the learned temperature of the contrastive loss (stored as log(1 / temperature))."""

    def __init__(self, config: CoCaConfig) -> None:
        super().__init__()
        self.config = config
        self.image_tower = ImageTower(config.image)
        self.poolers = ImagePoolers(
            config.pooler, image_width=config.image.width, text_width=config.text.width, embedding_width=config.embedding_width
        )
        self.unimodal = UnimodalDecoder(config.text, embedding_width=config.embedding_width)
        self.multimodal = MultimodalDecoder(config.text, self.unimodal.token_embedding)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels uint8 (B, H, W, 3), RGB, 0..255 -> embedding (B, E), not normalised, caption tokens (B, Q, D)."""
        return self.poolers(self.image_tower(pixels))
