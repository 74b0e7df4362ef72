"""A training step of a network or of a view of it, to be compared with another."""

import torch
from torch import Tensor, nn

from residua import networks
from residua.networks.network import Head, Network


def built(name: str) -> Network:
    """A network in training, in channels_last memory, without dropout, its scales not all one."""
    network = networks.build(name, classes=4).train()
    if name.startswith("vgg"):  # its own head is 120 million weights
        network.head = Head(512, 4)
    draw = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.copy_(torch.rand(module.num_features, generator=draw) + 0.5)
                module.bias.copy_(torch.randn(module.num_features, generator=draw) / 4)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def images(pixels: int, batch: int = 4) -> Tensor:
    drawn = torch.randn(batch, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


def stepped(
    network: Network, view: Network, x: Tensor, amp: bool = False, repeats: int = 1
) -> dict[str, Tensor]:
    """Logits, gradients of parameters and images, and statistics after a step, then restored."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
        for _ in range(repeats):
            outputs = view.outputs(x)
    weights = torch.linspace(-1, 1, outputs[0].numel()).view_as(outputs[0])
    total = sum(((each.to(x.dtype) * weights).sum() for each in outputs), torch.zeros(()))
    total.backward()
    found = {"logits": outputs[0].detach(), "images": x.grad}
    found |= {name: weight.grad for name, weight in network.named_parameters()}
    found |= {f"{name}.": value.clone() for name, value in network.named_buffers()}
    network.load_state_dict(state)
    return {name: value.clone() for name, value in found.items() if value is not None}


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The relative error of all tensors together, each weighed by its own size."""
    assert found.keys() == wanted.keys()
    errors = []
    for name, value in wanted.items():
        far = (found[name].double() - value.double()).norm()
        errors.append(float(far / value.double().norm().clamp_min(1e-3)))
    return sum(errors) / len(errors)
