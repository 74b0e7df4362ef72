"""Weights published elsewhere: their names and ours, both ways.

    elsewhere                           ours
    conv1, bn1                          features.stem.conv, .norm
    layer2.0.conv1, .bn1                features.stage2.0.branch.conv1, .norm1
    layer2.0.downsample.0, .1           features.stage2.0.shortcut.conv, .norm
    fc                                  head.linear

The tables are in elsewhere.py. Names and shapes cannot tell everything: both kinds of ResNet-50
have the same tensors, and so has one that blurs. `assumption` says what is taken on trust.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from residua.errors import BadData, Refused, unknown
from residua.networks import weightless
from residua.networks.elsewhere import STYLES
from residua.networks.network import Network
from residua.networks.recognize import COUNTER, Shapes, network_for
from residua.networks.renaming import Place, has, places, styles_of

HOLDERS = ("state_dict", "model_state_dict", "model", "model_ema", "state_dict_ema", "weights")
PREFIX = re.compile(r"(module|model|_orig_mod|state_dict|net|network)\.")
STATISTICS = ("running_mean", "running_var")


def to_ours(content: object, network: Network) -> dict[str, Tensor]:
    """Rename published tensors as those of `network`, ready for load_state_dict.

    Takes a state dict or a training checkpoint that holds one, in any of STYLES.

    Raises:
        BadData: tensors are missing, too many or of other shapes; the message names the first, and
            the network that would fit.
        Refused: no weights are published for such a network.
    """
    given = tensors(content)
    _, named = nearest(shapes(given), network)
    compare(shapes(given), {place.name: place.shape for place in named.values()}, network)
    for name, tensor in given.items():
        if tensor.is_floating_point() == name.endswith(COUNTER):
            raise BadData("weights are real numbers", where=f"{name} has {tensor.dtype}")
    own = network.state_dict()
    return {
        name: given[theirs].reshape(own[name].shape) if theirs in given else torch.tensor(0)
        for name, (theirs, _) in named.items()
    }


def style_of(content: object, network: Network) -> str:
    """The style whose names for the tensors of `network` are most like those of a file."""
    return nearest(shapes(tensors(content)), network)[0]


def from_ours(state: Mapping[str, Tensor], network: Network, style: str) -> dict[str, Tensor]:
    """Rename the tensors of `network` as `style`, a key of STYLES, has them; undoes `to_ours`.

    Raises:
        BadData: `state` is not of this network.
        Refused: no such style, or it has no such network: one of its own with the same tensors
            would compute something else.
    """
    if style not in STYLES:
        raise unknown("naming style", style, STYLES)
    if not has(style, network.name):
        others = " or ".join(styles_of(network.name))
        raise Refused(
            f"{style} has no network that computes what {network.name} does",
            where=f"received {style}",
            fix=f"choose {others}" if others else "keep them as they are: nobody else has it",
        )
    own = shapes(network.state_dict())
    if found := list(differences(shapes(state), own)):
        raise BadData(f"the weights do not fit {network.name}", where="; ".join(found[:3]))
    return {
        theirs: state[name].reshape(shape)
        for name, (theirs, shape) in places(network, style).items()
    }


def assumption(network: Network, style: str) -> str:
    """What a file of this style leaves open about a network that its project does not have."""
    if has(style, network.name):
        return ""
    return (
        f"{style} has no network that computes what {network.name} does, and tensors cannot tell: "
        "it is taken for one because you say so"
    )


def of_classes(network: Network) -> set[str]:
    """The names of the tensors whose shapes depend on the number of classes."""
    more = weightless(network.name, network.classes + 1, network.channels).state_dict()
    return {name for name, own in network.state_dict().items() if own.shape != more[name].shape}


def classes_among(given: Mapping[str, Tensor], network: Network) -> int:
    """How many classes published tensors tell; those of `network` where they do not say."""
    _, named = nearest(shapes(given), network)
    last = [named[name].name for name in sorted(of_classes(network)) if name in named]
    counts = [given[name].shape[0] for name in last if name in given and given[name].ndim]
    return counts[-1] if counts else network.classes  # of the head, which sorts last


def tensors(content: object) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the only one in a training checkpoint.

    What wraps of a network leave in front of all names, such as `module.`, is taken off.

    Raises:
        BadData: there is no tensor, there are several state dicts, or two names become one.
    """
    if isinstance(content, Mapping):
        held = [name for name in HOLDERS if isinstance(content.get(name), Mapping)]
        if len(held) > 1:
            raise BadData(
                f"there are several sets of weights: {', '.join(held)}",
                fix="save the one that you want as a state dict of its own",
            )
        content = content[held[0]] if held else content
    found = dict(content) if isinstance(content, Mapping) else {}
    found = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    if not found:
        raise BadData(
            "there are no named tensors in it",
            where=f"received {type(content).__name__}",
            fix="give a state dict, or a checkpoint with one under state_dict",
        )
    return {name: value.detach() for name, value in unwrapped(found).items()}


def unwrapped(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what is in front of every name, and the counter of torch's averaged models."""
    wrapped = {name: value for name, value in found.items() if name != "n_averaged"}
    prefix = next((match[0] for name in wrapped if (match := PREFIX.match(name))), "")
    if not prefix:
        return found
    if strange := [name for name in wrapped if not name.startswith(prefix)]:
        raise BadData(
            f"some names begin with {prefix} and some do not",
            where=f"such as {strange[0]}",
            fix="save the weights of the network alone",
        )
    return unwrapped({name.removeprefix(prefix): value for name, value in wrapped.items()})


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def nearest(given: Shapes, network: Network) -> tuple[str, dict[str, Place]]:
    """The style whose names for the network's tensors are most like those given.

    Raises:
        Refused: none has names for them.
    """
    named = {style: found for style in STYLES if (found := places(network, style))}
    if not named:
        raise Refused(
            f"no weights are published for networks like {network.name}",
            fix="choose a residual or plain network, such as resnet20-cifar or resnet50-v1.5",
        )

    def order(style: str) -> tuple[int, bool]:
        theirs = {place.name: place.shape for place in named[style].values()}
        return sum(1 for _ in differences(given, theirs)), not has(style, network.name)

    best = min(named, key=order)
    return best, named[best]


def compare(given: Shapes, wanted: Shapes, network: Network) -> None:
    """Raise BadData where the tensors are not those wanted, except for counters left out."""
    found = list(differences(given, wanted))
    if not found:
        return
    fitting, reason = network_for(given, network.name), norms_differ(given, wanted)
    more = f"; {len(found) - 3} more" if len(found) > 3 else ""
    raise BadData(
        f"the weights do not fit {network.name}" + (f": {reason}" if reason else ""),
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


def norms_differ(given: Shapes, wanted: Shapes) -> str:
    """How the norms differ, where that alone explains what is missing."""
    statistics = [name for name in wanted if name.endswith(STATISTICS)]
    measured = any(name.endswith(STATISTICS) for name in given)
    if not statistics:
        return "it has no batch norm, and they have its running statistics" if measured else ""
    if measured:
        return ""
    norms = {name.rpartition(".")[0] for name in statistics}
    if any(f"{norm}.weight" in given for norm in norms):
        return (
            "their norms have no running statistics, so they are group or instance norms, "
            "or were not saved whole"
        )
    if any(f"{name.rpartition('.')[0]}.bias" in given for name in wanted if "conv" in name):
        return "their batch norm is folded into the convolutions, which have biases instead"
    return ""
