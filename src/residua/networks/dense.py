"""A network applied to every position of a larger image: its head as convolutions.

Dense testing (Simonyan & Zisserman 2014, section 3.2; He et al. 2016a, section 3.4) lets the head
slide over a larger feature map, and so gives scores for every place at which the training size
fits, at strides of the network's own. At the training size there is one such place, and the scores
are the network's.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from residua.errors import Refused
from residua.networks.network import Network


class Sliding(nn.Module):
    """A linear layer over windows of `side` x `side` positions, as a convolution. It shares them.

    The layer was made for those windows flattened, channels first.
    """

    def __init__(self, linear: nn.Linear, side: int) -> None:
        super().__init__()
        self.linear, self.side = linear, side

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, d, h - side + 1, w - side + 1)
        weight = self.linear.weight.unflatten(1, (-1, self.side, self.side))
        return F.conv2d(x, weight, self.linear.bias)


def dense_head(network: Network, size: int) -> nn.Sequential:
    """The head of a network trained on `size` x `size` pixels, for feature maps of larger images.

    It maps features (b, width, h, w) to the scores of every place (b, classes, p, q), and shares
    the weights of the head.

    Raises:
        Refused: the network looks at whole images only.
    """
    return nn.Sequential(*sliding(network, positions(network, size)))


def positions(network: Network, size: int) -> int:
    """The height and width of the feature map of an image of `size` x `size` pixels."""
    if any(isinstance(module, nn.Flatten) for module in network.features.modules()):
        raise impossible(network, "its layers are fully connected to the pixels")
    shapes = {name: tensor.to("meta") for name, tensor in network.features.state_dict().items()}
    image = torch.empty(1, network.channels, size, size, device="meta")
    return int(functional_call(network.features, shapes, image).shape[-1])


def sliding(network: Network, side: int) -> Iterator[nn.Module]:
    """Yield the layers of the head as they slide over windows of `side` x `side` positions."""
    window = side
    for layer in network.head.children():
        match layer:
            case nn.AdaptiveAvgPool2d(output_size=1 | (1, 1)):
                yield nn.AvgPool2d(side, stride=1)
                window = 1
            case nn.AdaptiveAvgPool2d(output_size=kept) if kept in (side, (side, side)):
                pass  # at the training size it changes nothing
            case nn.Flatten():
                pass
            case nn.Linear():
                yield Sliding(layer, window)
                window = 1
            case nn.Conv2d() | nn.ReLU() | nn.Dropout():
                yield layer
            case _:
                raise impossible(
                    network, f"its head does more to {side}x{side} positions than classify them"
                )


def impossible(network: Network, why: str) -> Refused:
    fix = "choose the protocol single or ten-crop"
    return Refused(f"{network.name} cannot be applied densely: {why}", fix=fix)
