"""How strong gradients and activations are in each layer of a network, on any module.

By the chain rule the gradient at a layer is a product with a factor for each layer behind it,

    dL/dx_l = J_l^T J_(l+1)^T ... J_L^T dL/dx_L

so that it fades toward the input where the factors shrink it (vanishing; Bengio et al. 1994) and
grows where they stretch it (exploding). A shortcut adds the identity to each factor: I + J (He et
al. 2016b, equation 5). Of networks with batch normalization, He et al. 2016a (section 4.1) found
that neither is what keeps plain ones from learning.

    gradient_flow   norms of each layer's gradient and activation
    carried         what still reaches the input where every branch F(x) is cut
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from residua.errors import Refused
from residua.networks.network import Network, named
from residua.networks.residual import branches
from residua.networks.tracing import function_name, trace
from residua.probes.diagnosis import Diagnosis, Traits, diagnose
from residua.words import listed

ROOT = "network"  # the name of what the network holds itself


class Layer(NamedTuple):
    """One layer that has a matrix or kernel of weights."""

    name: str  # its path in the network
    kind: str  # its class: Conv2d
    gradient: float  # norm of the loss's gradient by its weights; nan where none depends on them
    activation: float  # root mean square of its output; nan where the layer was never called


class Flow(NamedTuple):
    """All layers in the order in which images pass them, and what follows from them."""

    layers: tuple[Layer, ...]
    loss: float
    diagnosis: Diagnosis
    notes: tuple[str, ...]  # what could not be followed, and what is known all the same

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    @property
    def gradients(self) -> list[float]:
        return [layer.gradient for layer in self.layers]

    @property
    def activations(self) -> list[float]:
        return [layer.activation for layer in self.layers]


def gradient_flow(network: nn.Module, images: Tensor, labels: Tensor) -> Flow:
    """Measure one step of training, in training mode, on a copy of the network.

    Layers whose weights are frozen are measured as if they learned. Norms are summed in float64: a
    float32 sum of squares is zero below 1e-23.

    Args:
        network: any module that maps images to logits, (b, classes).
        images: as the network takes them.
        labels: (b).

    Raises:
        Refused: the network has no weights, or gives no logits.
    """
    copied = deepcopy(network).train().requires_grad_(True)
    layers = weighted(copied)
    if not layers:
        raise Refused("the network has no layer with weights", where=type(network).__name__)
    outputs: dict[str, float] = {}  # in the order in which the calls begin
    for name, (module, _) in layers.items():
        module.register_forward_pre_hook(partial(begin, outputs, name))
        module.register_forward_hook(partial(note, outputs, name))
    loss = loss_of(copied, images, labels)
    weights = [weight for _, own in layers.values() for weight in own]
    found = iter(torch.autograd.grad(loss, weights, allow_unused=True))
    gradients = {name: norm([next(found) for _ in own]) for name, (_, own) in layers.items()}
    rows = tuple(
        Layer(name, type(layers[name][0]).__name__, gradients[name], outputs.get(name, math.nan))
        for name in ordered(list(layers), outputs)
    )
    traits, notes = traits_of(network)
    value = float(loss.detach())
    known = [row for row in rows if not math.isnan(row.gradient) or not math.isfinite(value)]
    names, norms, signals = zip(*((row.name, *row[2:]) for row in known), strict=True)
    return Flow(rows, value, diagnose(names, norms, traits, signals), (*notes, *gaps(rows)))


def gaps(rows: Sequence[Layer]) -> Iterator[str]:
    """What is not known of some layers, in words."""
    silent = [row.name for row in rows if math.isnan(row.gradient)]
    unseen = [row.name for row in rows if math.isnan(row.activation) and row.name not in silent]
    if silent:
        yield f"the loss has no gradient by the weights of {listed(silent)}"
    if unseen:
        yield f"weights used without a call of their layer: {listed(unseen)}; outputs are unknown"


def weighted(network: nn.Module) -> dict[str, tuple[nn.Module, list[nn.Parameter]]]:
    """The modules that have matrices or kernels of their own, by path, with these."""
    found = {}
    for name, module in network.named_modules():
        own = [weight for weight in module.parameters(recurse=False) if weight.ndim > 1]
        if own:
            found[name or ROOT] = module, own
    return found


def begin(outputs: dict[str, float], name: str, module: nn.Module, args: Any) -> None:
    outputs.setdefault(name, math.nan)


def note(outputs: dict[str, float], name: str, module: nn.Module, args: Any, output: Any) -> None:
    """Remember the root mean square of a layer's output, the first time that it is called."""
    value = first_tensor(output)
    if value is not None and math.isnan(outputs[name]):
        outputs[name] = float(value.detach().double().square().mean().sqrt())


def first_tensor(value: Any) -> Tensor | None:
    """A tensor, or the first one of what a module returned."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return next((each for each in map(first_tensor, value) if each is not None), None)
    return None


def loss_of(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The loss of a step, the same each time: layers that draw at random start from one seed.

    Raises:
        Refused: the network gives no logits.
    """
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.enable_grad(), torch.random.fork_rng(devices):
        torch.manual_seed(0)
        logits = first_tensor(network(images))
    if logits is None or logits.ndim != 2 or len(logits) != len(labels):
        shape = "no tensor" if logits is None else f"shape {tuple(logits.shape)}"
        raise Refused(
            f"logits have the shape ({len(labels)}, classes)",
            where=f"{type(network).__name__} gave {shape}",
            fix="wrap the network so that it returns them",
        )
    return functional.cross_entropy(logits.float(), labels)


def norm(gradients: Sequence[Tensor | None]) -> float:
    """The norm of the gradients of one layer together, nan where there is none."""
    known = [each.double().square().sum() for each in gradients if each is not None]
    return float(torch.stack(known).sum().sqrt()) if known else math.nan


def ordered(names: Sequence[str], called: Mapping[str, float]) -> list[str]:
    """Names in the order of the calls; what is never called stays behind its neighbor."""
    order = {name: place for place, name in enumerate(called)}
    last, places = -1, dict[str, tuple[int, bool, int]]()
    for index, name in enumerate(names):
        last = order.get(name, last)
        places[name] = (last, name not in order, index)
    return sorted(names, key=places.__getitem__)


# What a network has that bears on its gradients.

SATURATING = (nn.Sigmoid, nn.Tanh, nn.Softsign, nn.Hardsigmoid, nn.Hardtanh)
RECTIFIED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def traits_of(network: nn.Module) -> tuple[Traits, tuple[str, ...]]:
    """Its kind of activation, norms and shortcuts, and a note where they cannot be seen."""
    modules = list(network.modules())
    rectified = any(isinstance(module, RECTIFIED) for module in modules)
    saturating = not rectified and any(isinstance(module, SATURATING) for module in modules)
    normalized = any(isinstance(module, NORMS) for module in modules)
    root = network
    if isinstance(network, Network):  # its forward looks at shapes, which a trace does not have
        root = named(features=network.features, head=network.head)
    try:
        operations = trace(root).nodes
    except Refused as error:
        seen = "whether it has shortcuts is unknown; the norms of its layers are not affected"
        return Traits(saturating, normalized, None), (f"{error.what} ({error.where}): {seen}",)
    sums = (
        [source for source in item.all_input_nodes if source.op != "get_attr"]
        for item in operations
        if item.op in ("call_function", "call_method") and function_name(item) == "add"
    )
    return Traits(saturating, normalized, any(len(inputs) > 1 for inputs in sums)), ()


# The way past the branches.


def carried(
    network: nn.Module, images: Tensor, labels: Tensor, cut: Sequence[str] = ()
) -> tuple[float, float]:
    """Norms of the loss's gradient at the first block's input: as it is, and without branches.

    Without them, gradients pass through shortcuts alone: in y = F(x) + x the part through F is cut,
    while its value stays.

    Args:
        network: is measured in training mode, and is left as it was.
        images: as the network takes them.
        labels: (b).
        cut: paths of the branches; by default those of Residua's blocks.

    Raises:
        Refused: there are no branches, or none of that path.
    """
    paths = list(cut) or list(branches(network))
    known = dict(network.named_modules())
    if not paths or (strange := [path for path in paths if path not in known]):
        where = f"{strange[0]} is not in it" if paths else type(network).__name__
        raise Refused("the network has no such branches", where, "give their paths as cut=[...]")
    return through(network, images, labels, paths, ()), through(
        network, images, labels, paths, paths
    )


def through(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    paths: Sequence[str],
    cut: Sequence[str],
) -> float:
    """The norm at the input of the first of the branches called, with some of them cut."""
    copied = deepcopy(network).train().requires_grad_(True)
    entered: list[Tensor] = []
    for path in paths:
        copied.get_submodule(path).register_forward_pre_hook(
            lambda module, args: entered.append(args[0])
        )
    for path in cut:
        copied.get_submodule(path).register_forward_hook(
            lambda module, args, output: output.detach()
        )
    loss = loss_of(copied, images, labels)
    gradients = torch.autograd.grad(loss, entered[:1], allow_unused=True)
    return 0.0 if gradients[0] is None else norm(gradients)
