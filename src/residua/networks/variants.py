"""What others have changed in residual networks, each change a function that makes it in place.

    attention       squeeze-and-excitation      Hu et al. 2018                  arXiv:1709.01507
    downsampling    blur before subsampling     Zhang 2019                      arXiv:1904.11486
    bias            of gates, at first          Srivastava et al. 2015          arXiv:1507.06228
    dropout         inside the branch           Zagoruyko & Komodakis 2016      arXiv:1605.07146
    norm            other norms, or none        norms.py
    survival        stochastic depth            Huang et al. 2016               arXiv:1603.09382

A network is built as its paper has it, then varied, then given its initial weights. Any of these
goes with any other.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from residua.networks.network import named
from residua.networks.norms import NORMS
from residua.networks.residual import branches
from residua.networks.shortcuts import Gate, ZeroPad


def vary(features: nn.Module, options: Mapping[str, str]) -> None:
    """Make the changes that `options` ask for, before the network has weights."""
    if options.get("attention") == "se":
        squeeze_and_excite(features)
    if options.get("downsampling") == "blur":
        antialias(features)
    if dropout := float(options.get("dropout", 0)):
        drop_inside(features, dropout)
    NORMS[options["norm"]](features)
    for gate in features.modules():
        if isinstance(gate, Gate) and "bias" in options:
            gate.bias = float(options["bias"])
    if (survival := float(options.get("survival", 1))) < 1:
        drop_branches(features, survival)


class SqueezeExcitation(nn.Module):
    """Weigh each channel by a gate that sees the average of all of them."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.relu = nn.ReLU()
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, c, h, w)
        return x * self.sigmoid(self.expand(self.relu(self.reduce(self.pool(x)))))


def squeeze_and_excite(features: nn.Module) -> None:
    """End each branch with a squeeze-and-excitation (Hu et al. 2018, figure 3).

    The paper reduces the channels 16-fold; at least 8 remain, for the sake of narrow stages.
    """
    for branch in branches(features).values():
        channels = [layer for layer in branch if isinstance(layer, nn.Conv2d)][-1].out_channels
        branch.add_module("attention", SqueezeExcitation(channels, max(8, channels // 16)))


def blur() -> nn.Sequential:
    """Average with the weights 1 2 1 in each direction, then take every second pixel.

    Two averages over 2x2 pixels in turn weigh as the 3x3 binomial filter does ("Triangle-3").
    """
    return named(
        pad=nn.ReflectionPad2d(1),
        average=nn.AvgPool2d(2, stride=1),
        subsample=nn.AvgPool2d(2, stride=2),
    )


def antialias(features: nn.Module) -> None:
    """Blur wherever the network subsamples but in its first convolution (Zhang 2019, section 3).

    A max pool keeps its maximum and loses its stride to a blur; a convolution loses it to one
    behind its ReLU. A shortcut has no ReLU: there the blur comes first, which is also cheaper.
    """
    for path, module in list(features.named_modules()):
        if isinstance(module, ZeroPad) and module.stride > 1:
            module.stride = 1
            features.set_submodule(path, named(blur=blur(), pad=module))
        elif isinstance(module, nn.Sequential):
            layers = dict(module.named_children())
            strided = [name for name, layer in layers.items() if strides(layer)]
            if strided:  # of a stem, the last one: its pool
                features.set_submodule(path, named(**blurred(layers, strided[-1])))


def strides(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d | nn.MaxPool2d) and layer.stride not in (1, (1, 1))


def blurred(layers: Mapping[str, nn.Module], strided: str) -> dict[str, nn.Module]:
    """The layers of a Sequential, of which `strided` hands its stride to a blur."""
    names = list(layers)
    pools = isinstance(layers[strided], nn.MaxPool2d)
    layers[strided].stride = 1 if pools else (1, 1)  # type: ignore[assignment]
    relus = [name for name in names[names.index(strided) :] if isinstance(layers[name], nn.ReLU)]
    place = strided if pools else relus[0] if relus else ""
    result: dict[str, nn.Module] = {} if place else {"blur": blur()}
    for name, layer in layers.items():
        result[name] = layer
        if name == place:
            result["blur"] = blur()
    return result


def drop_inside(features: nn.Module, rate: float) -> None:
    """Drop values in front of each branch's last convolution (2016, figure 1d)."""
    for path, branch in branches(features).items():
        layers: dict[str, nn.Module] = {}
        *_, last = (name for name, layer in branch.named_children() if isinstance(layer, nn.Conv2d))
        for name, layer in branch.named_children():
            if name == last:
                layers["dropout"] = nn.Dropout(rate)
            layers[name] = layer
        features.set_submodule(path, named(**layers))


class StochasticDepth(nn.Module):
    """Drop a branch for an image with probability 1 - `survival`, in training only.

    What survives is divided by `survival`, so that evaluation changes nothing; the paper drops for
    a whole batch and multiplies in evaluation, which has the same mean.
    """

    def __init__(self, survival: float) -> None:
        super().__init__()
        self.survival = survival

    def forward(self, x: Tensor) -> Tensor:  # (b, c, h, w) -> (b, c, h, w)
        if not self.training:
            return x
        survives = x.new_empty(len(x), 1, 1, 1).bernoulli_(self.survival)
        return x * survives / self.survival


def drop_branches(features: nn.Module, survival: float) -> None:
    """Let survival fall in equal steps to that of the last branch (2016, equation 4)."""
    found = branches(features).values()
    for number, branch in enumerate(found, 1):
        rate = 1 - number / len(found) * (1 - survival)
        branch.add_module("survive", StochasticDepth(rate))
