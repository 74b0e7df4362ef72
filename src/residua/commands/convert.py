"""`residua convert`: weights published elsewhere into ours, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from residua.commands.terminal import EMPHASIS, WARNING, Terminal, place
from residua.errors import BadData, Refused
from residua.words import harmless, plain

if TYPE_CHECKING:
    from torch import Tensor

    from residua.checkpoints import Weights
    from residua.images import Preprocessing

CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()
# Nearly all published weights take images in 0..1 with the mean and deviation of ImageNet.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HEADS = ("fc.weight", "linear.weight")


@dataclass(frozen=True)
class Options:
    """What to make of the weights."""

    network: Annotated[
        str | None, Parameter(help="the network that they are of, see `residua list networks`")
    ] = None
    classes_from: Annotated[
        str | None,
        Parameter(metavar="DATA|FILE", help="names of the classes: data, a .txt or a .json list"),
    ] = None
    to: Annotated[
        str | None, Parameter(help="the other way: into the names of torchvision, timm or cifar")
    ] = None
    out: Annotated[
        str | None, Parameter(metavar="FILE", help="where to write [NAME.safetensors, here]")
    ] = None
    force: Annotated[bool, Parameter(negative="", help="replace a file that is there")] = False


USUAL = Options()


def convert(
    weights: str,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")] = USUAL,
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Turn weights published elsewhere into ours, or ours into what other projects read.

    A pickled file is read in a process of its own that can do nothing else. How pictures become
    the network's input is stored with the weights.

    Args:
        weights: a .pth, .pt, .th or .safetensors file; with --to, a run or weights of ours
    """
    target = place_for(Path(weights), options)
    if options.to is not None:
        publish(weights, options.to, target, terminal)
        return
    if options.network is None:
        fix = "add --network NAME; residua list networks"
        raise Refused("--network is missing: the file does not say what it is of", weights, fix)
    from residua import checkpoints

    made = ours(Path(weights), options.network, options.classes_from)
    digest = checkpoints.write_weights(target, made)
    describe(made, target, terminal)
    terminal.say((f"next: residua evaluate {place(target)} DATA", EMPHASIS))
    terminal.answer(
        {
            "weights": str(target),
            "sha256": digest,
            "network": made.network,
            "classes": list(made.classes),
            "preprocessing": made.preprocessing.to_dict(),
        }
    )


def place_for(source: Path, options: Options) -> Path:
    """Where the result goes.

    Raises:
        Refused: something is there already, or it is not to be a safetensors file.
    """
    ending = f"-{options.to}" if options.to else ""
    target = Path(
        options.out or f"{source.absolute().name.removesuffix(source.suffix)}{ending}.safetensors"
    )
    if target.suffix != ".safetensors":
        raise Refused("weights are written as safetensors", f"--out {options.out}")
    if target.exists() and target.samefile(source):
        raise Refused("the result would replace its source", str(target), "give --out FILE")
    if target.exists() and not options.force:
        fix = "give --out FILE, or --force to replace it"
        raise Refused("there is a file already", str(target), fix)
    return target


def ours(source: Path, name: str, classes_from: str | None) -> "Weights":
    """Published weights as ours.

    Raises:
        BadData: the file cannot be read, or is not of that network.
        Refused: there is no such network, or the classes are not as many.
    """
    import torch

    from residua import checkpoints, networks
    from residua.networks.weights import to_ours

    networks.parse(name)
    tensors = published(source)
    count = next(
        (len(value) for key, value in tensors.items() if key.endswith(HEADS)),
        networks.parse(name)[0].classes,
    )
    with torch.device("meta"):
        network = networks.build(name, count)
    try:
        converted = to_ours(tensors, network)
    except BadData as error:
        raise BadData(error.what, f"{source}: {error.where}", error.fix) from error
    converted = {
        key: value.float() if value.is_floating_point() else value
        for key, value in converted.items()
    }
    converted = checkpoints.decode(checkpoints.encode(converted), source)  # refuses nan
    names = class_names(count, "cifar" in name, classes_from)
    return checkpoints.Weights(converted, network.name, names, preprocessing("cifar" in name))


def published(source: Path) -> "Mapping[str, Tensor]":
    """The tensors of a file from elsewhere, by the names that they have there."""
    from residua import checkpoints
    from residua.networks.unpickle import read_pickled

    if source.suffix != ".safetensors":
        return read_pickled(source)
    data = checkpoints.read_bytes(source)
    if "residua" in checkpoints.read_header(data, source).get("__metadata__", {}):
        fix = "give --to torchvision, timm or cifar to turn them into others'"
        raise Refused("these weights are ours already", str(source), fix)
    return checkpoints.decode(data, source)


def class_names(count: int, cifar: bool, source: str | None) -> tuple[str, ...]:
    """The names of the classes, in the order of the logits.

    Raises:
        Refused: the source has another number of them.
    """
    if source is None:
        return tuple(CIFAR10) if cifar and count == 10 else tuple(map(str, range(count)))
    names = listed(source)
    if len(names) != count:
        fix = "give names in the order of the network's outputs"
        what = f"the weights tell {count} classes, and there are {len(names)} names"
        raise Refused(what, f"--classes-from {source}", fix)
    return names


def listed(source: str) -> tuple[str, ...]:
    """Names from a text file with one on each line, from a JSON list, or from data."""
    path = Path(source)
    if path.suffix not in (".txt", ".json"):
        from residua import datasets

        return datasets.load(source).classes
    try:
        text = path.read_text(encoding="utf-8")
        names: Any = json.loads(text) if path.suffix == ".json" else text.split("\n")
    except (OSError, ValueError) as error:
        raise BadData(f"the names cannot be read: {error}", source) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadData("the names are not a list of texts", source)
    return tuple(name.strip() for name in names if name.strip())


def preprocessing(cifar: bool) -> "Preprocessing":
    """How published networks expect pictures."""
    from residua.images import Preprocessing

    size, resize = (32, 32) if cifar else (224, 256)
    return Preprocessing(size, "crop", resize, MEAN, STD)


def publish(source: str, style: str, target: Path, terminal: Terminal) -> None:
    """Write weights of ours under the names of another project."""
    from residua import checkpoints, durable
    from residua.commands.models import open_model
    from residua.networks.weights import from_ours

    weights = open_model(source).weights
    tensors = from_ours(weights.tensors, weights.build(), style)
    durable.write(target, checkpoints.encode(tensors))
    describe(weights, target, terminal)
    terminal.say((f"{style} does not store the preprocessing: apply it yourself", WARNING))
    terminal.answer(
        {
            "weights": str(target),
            "style": style,
            "network": weights.network,
            "preprocessing": weights.preprocessing.to_dict(),
        }
    )


def describe(weights: "Weights", target: Path, terminal: Terminal) -> None:
    """Tell what the weights are and where."""
    view, names = weights.preprocessing, ", ".join(map(harmless, weights.classes[:10]))
    numbers = f"mean {plain(view.mean[:3])}; deviation {plain(view.std)}"
    terminal.facts(
        [
            ("network", weights.network),
            ("classes", f"{len(weights.classes)}: {names}" + " ..." * (len(weights.classes) > 10)),
            ("pictures", f"{view.size} x {view.size}, {view.fit} from {view.resize}; {numbers}"),
            ("weights", place(target)),
        ]
    )
