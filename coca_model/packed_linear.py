"""Linear layers for inference on a CPU: weights laid out once for its matrix instructions, with the activation in the same pass.

An ordinary linear layer in bfloat16 rearranges its weights at every call. Doing that once made products of a large batch 1.3
times, those of the few rows of a decoding step up to 1.9 times as fast (AMX, two cores). The operators are those that
torch.compile uses; called directly, they need no compiler and no warm-up. Where torch lacks them the layers stay as they are.
"""

import torch
from torch import Tensor, nn

_ROWS = 1024  # the layout suits about this many rows at a time, and works for any number


class PackedLinear(nn.Module):
    """As `linear`, followed by GELU where asked; for inference only."""

    def __init__(self, linear: nn.Linear, *, gelu: bool) -> None:
        super().__init__()
        self.activation = "gelu" if gelu else "none"
        self.bias = linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)  # opaque: no parameter

    def forward(self, x: Tensor) -> Tensor:
        """X bfloat16 (..., D_in) -> (..., D_out)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, self.activation, [], "none")


def pack_linear_layers(model: nn.Module) -> None:
    """Replace the linear layers of a bfloat16 model on the CPU, in place; other models are left as they are."""
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype is not torch.bfloat16 or not _is_supported():
        return
    for parent in list(model.modules()):
        names = list(parent._modules)
        for name, following in zip(names, [*names[1:], ""], strict=False):
            layer = parent._modules[name]
            if isinstance(layer, nn.Linear):
                after = parent._modules[following] if following and isinstance(parent, nn.Sequential) else None
                gelu = isinstance(after, nn.GELU) and after.approximate == "none"
                parent._modules[name] = PackedLinear(layer, gelu=gelu)
                if gelu and following:
                    parent._modules[following] = nn.Identity()


def _is_supported() -> bool:
    known = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
