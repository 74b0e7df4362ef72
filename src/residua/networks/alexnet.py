"""AlexNet, as in 2012 and as in 2014.

    2012    Krizhevsky, Sutskever & Hinton, section 3: two groups, response normalization
    2014    Krizhevsky, arXiv:1404.5997: one group, fewer filters, no response normalization

The 2012 paper prints 224 pixels, with which its own table of positions does not come out; 227 do.
"""

from torch import nn

from residua.networks.network import Network, Size, fully_connected, named


def alexnet(year: str, name: str, size: Size) -> Network:
    """Five convolutions and three fully connected layers, as in `year`, a key of FORMS."""
    features, smallest = FORMS[year]
    return Network(
        name,
        features(size.channels),
        fully_connected(256, 6, size.classes),
        size,
        smallest=smallest,
    )


def of_2012(channels: int) -> nn.Sequential:
    """The second, fourth and fifth convolution see only half of the channels below (figure 2)."""
    return named(
        stage1=named(
            conv=nn.Conv2d(channels, 96, 11, stride=4),
            relu=nn.ReLU(),
            norm=response_norm(),
            pool=overlapping_pool(),
        ),
        stage2=named(
            conv=nn.Conv2d(96, 256, 5, padding=2, groups=2),
            relu=nn.ReLU(),
            norm=response_norm(),
            pool=overlapping_pool(),
        ),
        stage3=named(
            conv1=nn.Conv2d(256, 384, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(384, 384, 3, padding=1, groups=2),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(384, 256, 3, padding=1, groups=2),
            relu3=nn.ReLU(),
            pool=overlapping_pool(),
        ),
    )


def of_2014(channels: int) -> nn.Sequential:
    """The one column of the later paper, in the sizes that most later code has."""
    return named(
        stage1=named(
            conv=nn.Conv2d(channels, 64, 11, stride=4, padding=2),
            relu=nn.ReLU(),
            pool=overlapping_pool(),
        ),
        stage2=named(
            conv=nn.Conv2d(64, 192, 5, padding=2),
            relu=nn.ReLU(),
            pool=overlapping_pool(),
        ),
        stage3=named(
            conv1=nn.Conv2d(192, 384, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(384, 256, 3, padding=1),
            relu2=nn.ReLU(),
            conv3=nn.Conv2d(256, 256, 3, padding=1),
            relu3=nn.ReLU(),
            pool=overlapping_pool(),
        ),
    )


def response_norm() -> nn.LocalResponseNorm:
    """Section 3.3: k = 2, n = 5, alpha = 1e-4, beta = 0.75; torch divides its alpha by n."""
    return nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)


def overlapping_pool() -> nn.MaxPool2d:
    """Section 3.4."""
    return nn.MaxPool2d(3, stride=2)


FORMS = {"2012": (of_2012, 67), "2014": (of_2014, 63)}  # and the smallest image of each
