"""The builder of each family, which loads torch when it is first called.

A name is thus checked, and a mistake in it explained, before the seconds that torch takes.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from residua.networks.network import Network, Size

Values = Mapping[str, str]  # of every option
Build = Callable[[str, "Size", Values], "Network"]


def imagenet(join: str) -> Build:
    """Networks for photographs whose blocks join as `join` says, a key of residual.JOINS."""

    def build(name: str, size: "Size", options: Values) -> "Network":
        from residua.networks import resnet

        return resnet.imagenet(join, name, size, options)

    return build


def cifar(join: str) -> Build:
    """The same for small images."""

    def build(name: str, size: "Size", options: Values) -> "Network":
        from residua.networks import resnet

        return resnet.cifar(join, name, size, options)

    return build


def wide(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import resnet

    return resnet.wide(name, size, options)


def sprint(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import sprint as room

    return room.sprint(name, size, options)


def vgg(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import vgg as room

    return room.vgg(name, size, options)


def alexnet(year: str) -> Build:
    """AlexNet as in `year`, a key of alexnet.FORMS."""

    def build(name: str, size: "Size", options: Values) -> "Network":
        from residua.networks import alexnet as room

        return room.alexnet(year, name, size)

    return build


def nin_cifar(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import nin

    return nin.cifar(name, size, options)


def nin_imagenet(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import nin

    return nin.imagenet(name, size, options)


def googlenet(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import inception

    return inception.googlenet(name, size, options)


def bn_inception(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import inception

    return inception.bn_inception(name, size, options)


def highway_cifar(name: str, size: "Size", options: Values) -> "Network":
    from residua.networks import highway

    return highway.convolutional(name, size, options)


def fully_connected(kind: str) -> Build:
    """Networks of fully connected layers, `kind` plain or highway."""

    def build(name: str, size: "Size", options: Values) -> "Network":
        from residua.networks import highway

        return highway.fully_connected(kind, name, size, options)

    return build
