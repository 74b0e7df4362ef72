"""Weights published elsewhere: their names and ours, both ways.

    elsewhere                           ours
    conv1, bn1                          features.stem.conv, .norm
    layer2.0.conv1, .bn1                features.stage2.0.branch.conv1, .norm1
    layer2.0.downsample.0, .1           features.stage2.0.shortcut.conv, .norm
    fc                                  head.linear

Networks for small images are published with `shortcut` and `linear` in place of `downsample` and
`fc`, and often with `module.` in front. Names cannot tell which convolution of a bottleneck
strides: both kinds of ResNet-50 have the same tensors. Most of those published under these names,
torchvision's among them, stride in the 3x3: resnet50-v1.5 here.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product

import torch
from torch import Tensor

from residua.errors import BadData, Refused, unknown
from residua.networks import NETWORKS, SHORT, Family, build
from residua.networks.network import Network

NAMES = (
    (r"features\.stem\.conv\.", "conv1."),
    (r"features\.stem\.norm\.", "bn1."),
    (r"features\.stage(\d+)\.(\d+)\.branch\.conv(\d)\.", r"layer\1.\2.conv\3."),
    (r"features\.stage(\d+)\.(\d+)\.branch\.norm(\d)\.", r"layer\1.\2.bn\3."),
    (r"features\.stage(\d+)\.(\d+)\.shortcut\.conv\.", r"layer\1.\2.downsample.0."),
    (r"features\.stage(\d+)\.(\d+)\.shortcut\.norm\.", r"layer\1.\2.downsample.1."),
    (r"head\.linear\.", "fc."),
)  # ours -> elsewhere
STYLES: dict[str, Mapping[str, str]] = {
    "torchvision": {},
    "timm": {},
    "cifar": {"downsample": "shortcut", "fc": "linear"},
}  # how each respells those
COUNTER = "num_batches_tracked"  # old files lack it, and no result depends on it
Shapes = Mapping[str, tuple[int, ...]]


def to_ours(content: object, network: Network) -> dict[str, Tensor]:
    """Rename published tensors as those of `network`, ready for load_state_dict.

    Takes a state dict or a training checkpoint that holds one, in any of STYLES.

    Raises:
        BadData: tensors are missing, too many or of other shapes; the message names the first, and
            the network that would fit.
        Refused: no weights are published for such a network.
    """
    ours = {published(name, network): name for name in network.state_dict()}
    given = without_style(tensors(content))
    compare(shapes(given), expected(network), network)
    for name, tensor in given.items():
        if tensor.is_floating_point() == name.endswith(COUNTER):
            raise BadData("weights are real numbers", where=f"{name} has {tensor.dtype}")
    return {
        name: given[theirs] if theirs in given else torch.tensor(0)  # a counter
        for theirs, name in ours.items()
    }


def from_ours(state: Mapping[str, Tensor], network: Network, style: str) -> dict[str, Tensor]:
    """Rename the tensors of `network` as `style`, a key of STYLES, has them; undoes `to_ours`.

    Raises:
        BadData: `state` is not of this network.
        Refused: no such style, or no weights are published for such a network.
    """
    if style not in STYLES:
        raise unknown("naming style", style, STYLES)
    named = {published(name, network): tensor for name, tensor in state.items()}
    compare(shapes(named), expected(network), network)
    return {respell(name, STYLES[style]): tensor for name, tensor in named.items()}


def tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the `state_dict` in a training checkpoint.

    Raises:
        BadData: there is no tensor.
    """
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    found = dict(content) if isinstance(content, Mapping) else {}
    found = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not found:
        raise BadData(
            "there are no named tensors in it",
            where=f"received {type(content).__name__}",
            fix="give a state dict, or a checkpoint with one under state_dict",
        )
    return {str(name): value.detach() for name, value in found.items()}


def published(name: str, network: Network) -> str:
    """Return the torchvision name of one of our tensors."""
    for pattern, replacement in NAMES:
        renamed, found = re.subn(f"^{pattern}", replacement, name)
        if found:
            return renamed
    raise Refused(
        f"no weights are published for networks like {network.name}",
        where=f"{name} has no name elsewhere",
        fix="choose a residual or plain network, such as resnet20-cifar or resnet50-v1.5",
    )


def respell(name: str, spelling: Mapping[str, str]) -> str:
    return ".".join(spelling.get(part, part) for part in name.split("."))


def without_style(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spell published names as torchvision does.

    Raises:
        BadData: two names become one.
    """
    back = {theirs: ours for spelling in STYLES.values() for ours, theirs in spelling.items()}
    renamed: dict[str, Tensor] = {}
    for name, tensor in given.items():
        plain = respell(name.removeprefix("module."), back)
        if plain in renamed:
            raise BadData("two tensors have the same meaning", where=f"{name} is there twice")
        renamed[plain] = tensor
    return renamed


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def expected(network: Network) -> Shapes:
    """Return the shapes of a network's tensors by their published names."""
    return {published(name, network): size for name, size in shapes(network.state_dict()).items()}


def compare(given: Shapes, wanted: Shapes, network: Network) -> None:
    """Raise BadData where the tensors are not those wanted, except for counters left out."""
    found = list(differences(given, wanted))
    if not found:
        return
    fitting = network_for(given, network.name)
    more = f"; {len(found) - 3} more" if len(found) > 3 else ""
    raise BadData(
        f"the weights do not fit {network.name}",
        where="; ".join(found[:3]) + more,
        fix=f"they fit {fitting}" if fitting else "find out which network they are of",
    )


def differences(given: Shapes, wanted: Shapes) -> Iterator[str]:
    """Yield, in words, each tensor that is not as wanted."""
    for name, shape in wanted.items():
        if name in given and given[name] != shape:
            yield f"{name} is {list(given[name])} instead of {list(shape)}"
        elif name not in given and not name.endswith(COUNTER):
            yield f"{name} is missing"
    yield from (f"{name} is not part of it" for name in given if name not in wanted)


def network_for(given: Shapes, wanted: str) -> str:
    """Return the network of the wanted one's kind that has such tensors; "" if there is none."""
    depth = sum(re.search(r"conv\d\.weight$|^fc\.weight$", name) is not None for name in given)
    classes, channels = given.get("fc.weight", ())[:1], given.get("conv1.weight", ())[1:2]
    if not (classes and channels):
        return ""
    kind = wanted.partition("-")[0].rstrip("0123456789")
    for template, family in NETWORKS.items():
        if template.startswith(kind + "{"):
            for name in variants(template, family, depth):
                if fits(given, name, classes[0], channels[0]):
                    return f"{name} with {classes[0]} classes and {channels[0]} channels"
    return ""


def variants(template: str, family: Family, depth: int) -> Iterator[str]:
    """Yield the names of a family at one depth, with every choice of options that shows in tensors.

    The stride of a bottleneck does not, and is assumed to be where published ones have it.
    """
    short = {option: name for name, option in SHORT.items()}
    options = {**family.options, "stride": ("3x3" if depth >= 50 else "1x1",)}
    choices = [[f"{key}={value}" for value in options[key]] for key in family.options]
    default = {f"{key}={values[0]}" for key, values in family.options.items()}
    for choice in product(*choices):
        yield "-".join(
            [template.format(depth=depth), *(short[o] for o in choice if o not in default)]
        )


def fits(given: Shapes, name: str, classes: int, channels: int) -> bool:
    """Tell whether `name` is a network that has such tensors."""
    try:
        with torch.device("meta"):
            network = build(name, classes, channels)
    except Refused:  # no such depth
        return False
    return not any(differences(given, expected(network)))
