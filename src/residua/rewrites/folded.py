"""A network for inference: each batch normalization folded into the convolution in front of it.

With fixed statistics a normalization is linear, and so is the convolution that it follows:

    s = gamma / sqrt(variance + epsilon)      W' = s W      b' = beta + s (b - mean)

(Jacob et al. 2018, arXiv:1712.05877, section 3.2). A norm that follows something else, as those of
pre-activation do, stays as it is.
"""

import copy

import torch
from torch import Tensor, nn

from residua.networks.network import Features, Network, named
from residua.networks.variants import StochasticDepth

NOTHING = (nn.Identity, nn.Dropout, StochasticDepth)  # what evaluation passes on unchanged


class Cast(nn.Module):
    """Change the precision of a feature map."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)


def folded(network: Network, dtype: torch.dtype = torch.float32) -> Network:
    """A view of a network that gives its results in evaluation mode, with fewer layers.

    It shares every number that it does not change, and no module. Training's auxiliary heads are
    left out.

    Args:
        network: in any mode; it is not changed, and what it learns later is not seen by the view.
        dtype: of the convolutions. The view takes and gives float32 whatever it is, and its head
            stays in float32, in which close scores do not tie.
    """
    view = detached(network)
    assert isinstance(view, Network)
    view.auxiliary = nn.ModuleDict()
    for module in view.modules():
        if isinstance(module, nn.Sequential) and not isinstance(module, Features):
            fold(module)
    if dtype != torch.float32:
        convert(view.features, dtype)
    return view.eval()


def detached(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares the numbers and nothing else, without gradients."""
    twin = copy.copy(module)
    twin.training = False
    twin._parameters = {
        name: None if value is None else constant(value)
        for name, value in module._parameters.items()
    }
    twin._buffers = dict(module._buffers)
    twin._modules = {
        name: None if child is None else detached(child) for name, child in module._modules.items()
    }
    return twin


def constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach(), requires_grad=False)


def fold(layers: nn.Sequential) -> None:
    """Fold the norms of a Sequential, and leave out what does nothing in evaluation mode."""
    last, before = "", None  # the layer in front, by its name
    for name, layer in list(layers.named_children()):
        if isinstance(layer, NOTHING):
            delattr(layers, name)
        elif (
            isinstance(layer, nn.BatchNorm2d)
            and layer.running_mean is not None
            and isinstance(before, nn.Conv2d)
        ):
            before = merged(before, layer)
            layers._modules[last] = before
            delattr(layers, name)
        else:
            last, before = name, layer


def merged(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """One convolution that does what both do."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    result = detached(conv)
    assert isinstance(result, nn.Conv2d)
    weight = conv.weight.double() * scale[:, None, None, None]
    result.weight, result.bias = constant(weight.float()), constant(shift.float())
    return result


def convert(features: Features, dtype: torch.dtype) -> None:
    """Convert weights, but for those of norms that are left; they work on any precision."""
    for module in features.modules():
        if not isinstance(module, nn.BatchNorm2d):
            for name, value in module._parameters.items():
                if value is not None:
                    module._parameters[name] = constant(value.to(dtype))
    first, *_, last = [name for name, _ in features.named_children()] * 2
    features._modules[first] = named(cast=Cast(dtype), stage=features.get_submodule(first))
    features._modules[last] = named(stage=features.get_submodule(last), cast=Cast(torch.float32))
