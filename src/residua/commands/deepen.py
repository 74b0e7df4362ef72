"""`residua deepen`: a deeper network that computes the same function, to train on from there."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from residua.commands.models import open_model
from residua.commands.terminal import EMPHASIS, Terminal, place
from residua.errors import Refused
from residua.words import count, plain

if TYPE_CHECKING:
    from residua.checkpoints import Weights

IMAGES = 8  # of random pixels, on which the two networks are compared


@dataclass(frozen=True)
class Options:
    """How deep, and where to write."""

    to: Annotated[int, Parameter(metavar="DEPTH", help="layers of the deeper network")]
    out: Annotated[
        str | None,
        Parameter(metavar="FILE", help="where to write the weights [NETWORK.safetensors]"),
    ] = None
    force: Annotated[bool, Parameter(negative="", help="replace a file that is there")] = False


def deepen(
    model: str,
    /,
    *,
    options: Annotated[Options, Parameter(name="*")],
    terminal: Annotated[Terminal, Parameter(parse=False)],
) -> None:
    """Add layers that do nothing to a trained network, to train it on from the same error.

    The deeper network is of the same family, and what it computes is compared before it is
    written: no logit may differ. In training, residual networks with identity shortcuts still
    compute the same; in plain networks batch norm makes a small difference.

    Args:
        model: a run or weights, which are not changed
    """
    from residua import checkpoints
    from residua.networks.deepened import deepened

    found = open_model(model)
    origin = found.weights.build()
    deep = deepened(origin, options.to)
    target = place_for(deep.name, options)
    made = replace(found.weights, tensors=deep.state_dict(), network=deep.name)
    largest = compared(found.weights, made)
    digest = checkpoints.write_weights(target, made)
    sizes = [sum(weight.numel() for weight in net.parameters()) for net in (origin, deep)]
    terminal.facts(
        [
            ("network", (f"{origin.name}: {origin.depth} layers, {count(sizes[0])} parameters")),
            ("deeper", (f"{deep.name}: {deep.depth} layers, {count(sizes[1])} parameters")),
            ("difference", f"{plain(largest)}, of all logits of {IMAGES} random images"),
            ("weights", place(target)),
        ]
    )
    source = found.run.info()["data"]["source"] if found.run else "DATA"
    terminal.say((f"next: residua train {plain(source)} --init {place(target)}", EMPHASIS))
    terminal.answer(
        {
            "weights": str(target),
            "sha256": digest,
            "network": deep.name,
            "from": origin.name,
            "depth": deep.depth,
            "parameters": sizes[1],
            "max_difference": largest,
        }
    )


def place_for(name: str, options: Options) -> Path:
    """Where the weights go.

    Raises:
        Refused: something is there already, or it is not to be a safetensors file.
    """
    target = Path(options.out or f"{name}.safetensors")
    if target.suffix != ".safetensors":
        raise Refused("weights are written as safetensors", f"--out {options.out}")
    if target.exists() and not options.force:
        fix = "give --out FILE, or --force to replace it"
        raise Refused("there is a file already", place(target), fix)
    return target


def compared(origin: "Weights", made: "Weights") -> float:
    """The largest difference of logits on random images, which must be zero.

    Raises:
        Refused: it is not.
    """
    import torch

    from residua.networks.deepened import difference

    one, other, side = origin.build(), made.build(), origin.preprocessing.size
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, one.channels, side, side, generator=noise)
    largest = difference(one, other, images)
    if largest != 0:
        raise Refused(
            f"the deeper network is not the same function: its logits differ by {largest:.2g}",
            where=f"network {made.network}",
            fix="check the weights: residua evaluate says what they get right",
        )
    return largest
