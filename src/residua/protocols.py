"""How a network is asked about a picture: which views, and how their scores combine.

A protocol maps a network and a batch of images (b, 3, h, w) to scores (b, classes) that sum to 1.
"""

from collections.abc import Callable

from torch import Tensor

Classifier = Callable[[Tensor], Tensor]  # images (b, 3, h, w) -> logits (b, classes)
Protocol = Callable[[Classifier, Tensor], Tensor]


def single(network: Classifier, images: Tensor) -> Tensor:
    """One view, as the preprocessing shows it (CIFAR: the image; ImageNet: the center crop)."""
    return network(images).float().softmax(1)


PROTOCOLS: dict[str, Protocol] = {"single": single}
