"""Network in Network: 1x1 convolutions after each larger one, and no fully connected layer.

Lin, Chen & Yan 2013 (arXiv:1312.4400). The last 1x1 convolution has one channel for each class, and
its average over all positions is the class's score (section 3.2). The paper leaves the sizes open;
those for small images are the ones that its authors published, those for photographs the ones of
the network that became known under the name.
"""

from collections.abc import Mapping, Sequence

from torch import nn

from residua.networks.network import Network, Size, named


def cifar(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The network for images of 32 pixels."""
    features = named(
        stage1=named(
            mlp=mlpconv(nn.Conv2d(size.channels, 192, 5, padding=2), (160, 96)),
            pool=nn.MaxPool2d(3, stride=2, ceil_mode=True),
            dropout=nn.Dropout(0.5),
        ),
        stage2=named(
            mlp=mlpconv(nn.Conv2d(96, 192, 5, padding=2), (192, 192)),
            pool=nn.AvgPool2d(3, stride=2, ceil_mode=True),
            dropout=nn.Dropout(0.5),
        ),
        stage3=mlpconv(nn.Conv2d(192, 192, 3, padding=1), (192,)),
    )
    return Network(name, features, averaged(192, size.classes), size, smallest=5)


def imagenet(name: str, size: Size, options: Mapping[str, str]) -> Network:
    """The network for images of 224 pixels."""
    features = named(
        stage1=named(
            mlp=mlpconv(nn.Conv2d(size.channels, 96, 11, stride=4), (96, 96)),
            pool=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ),
        stage2=named(
            mlp=mlpconv(nn.Conv2d(96, 256, 5, padding=2), (256, 256)),
            pool=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ),
        stage3=named(
            mlp=mlpconv(nn.Conv2d(256, 384, 3, padding=1), (384, 384)),
            pool=nn.MaxPool2d(3, stride=2, ceil_mode=True),
            dropout=nn.Dropout(0.5),
        ),
        stage4=mlpconv(nn.Conv2d(384, 1024, 3, padding=1), (1024,)),
    )
    return Network(name, features, averaged(1024, size.classes), size, smallest=39)


def mlpconv(first: nn.Conv2d, widths: Sequence[int]) -> nn.Sequential:
    """A convolution, then 1x1 convolutions to `widths`: a small network at every position."""
    layers: dict[str, nn.Module] = {"conv1": first, "relu1": nn.ReLU()}
    c = first.out_channels
    for index, d in enumerate(widths, 2):
        layers |= {f"conv{index}": nn.Conv2d(c, d, 1), f"relu{index}": nn.ReLU()}
        c = d
    return named(**layers)


def averaged(width: int, classes: int) -> nn.Sequential:
    """A score for each class at every position, and their average."""
    return named(
        conv=nn.Conv2d(width, classes, 1),
        relu=nn.ReLU(),
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
    )
