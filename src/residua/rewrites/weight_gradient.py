"""Weight gradients of wide convolutions on small maps, as one matrix product.

With G (b h w, d) the gradient of the output and P (b h w, 9 c) the 3x3 patches of the input,
dW = G^T P. For bf16 on processors oneDNN's kernel of its own for it takes up to five times as long
where channels are many and positions few; where they are not, it is the faster one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, PLACES = 128, 64  # at least so many in and out, on maps of at most so many positions


def suits(conv: nn.Conv2d, x: Tensor) -> bool:
    """Whether the product is the faster way for the convolution of x (b, c, h, w)."""
    usual = (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    return (
        usual == ((3, 3), (1, 1), (1, 1), (1, 1), 1)
        and x.device.type == "cpu"
        and x.dtype == torch.bfloat16
        and min(conv.in_channels, conv.out_channels) >= CHANNELS
        and x.shape[2] * x.shape[3] <= PLACES
    )


def weight_gradient(g: Tensor, x: Tensor) -> Tensor:
    """The gradient (d, c, 3, 3) of a 3x3 convolution of stride 1 and padding 1.

    Args:
        g: gradient of its output (b, d, h, w).
        x: its input (b, c, h, w), both channels_last.
    """
    (b, c, h, w), d = x.shape, g.shape[1]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    image, row, place, _ = padded.stride()
    patches = padded.as_strided((b, h, w, 3, 3, c), (image, row, place, row, place, 1))
    rows = g.permute(0, 2, 3, 1).reshape(-1, d)
    return (rows.T @ patches.reshape(len(rows), 9 * c)).view(d, 3, 3, c).permute(0, 3, 1, 2)
