"""What changes while a network learns, its way to disk and back, and its norms."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from torch import Tensor, nn

from residua import checkpoints, networks
from residua.batches import Batch
from residua.execution import execution
from residua.learner import Learner, make_learner, precise_norms
from residua.recipes import Recipe
from residua.steps import steps

RECIPE = Recipe(batch=8, learning_rate=0.05, threads=1, weight_decay=1e-3)
CPU = execution(replace(RECIPE, precision="fp32", device="cpu"))


def batches(count: int, first: int = 0) -> Iterator[Batch]:
    for index in range(first, first + count):
        generator = torch.Generator().manual_seed(index)
        images = torch.randn(8, 3, 8, 8, generator=generator)
        yield Batch(images, torch.arange(8) % 3, torch.arange(8))


class Dropping(nn.Module):
    """A network that draws random numbers of its own in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop = networks.build("resnet8-cifar", 3), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(self.drop(images))


def learn(learner: Learner, recipe: Recipe, count: int, first: int = 0) -> None:
    learner.network.train()
    for _ in steps(learner, batches(count, first), recipe, lambda step: 0.05, first):
        pass


@pytest.mark.parametrize("optimizer", ["sgd", "caffe-sgd", "adamw", "muon"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_restored_learner_continues_to_the_bit(
    tmp_path: Path, optimizer: str, ema: float, at: int
) -> None:
    """Through the disk, at the start, after one step and later, with random layers."""
    recipe = replace(RECIPE, optimizer=optimizer, ema=ema)  # type: ignore[arg-type]
    torch.manual_seed(5)
    whole = make_learner(Dropping(), recipe, CPU)
    learn(whole, recipe, at)
    path = checkpoints.save(tmp_path, at, whole.network.state_dict(), whole.state(), {})
    learn(whole, recipe, 3, at)

    torch.manual_seed(999)
    found = checkpoints.load(path)
    other = make_learner(Dropping(), recipe, CPU)
    other.restore(found.weights, found.state)
    learn(other, recipe, 3, at)

    for one, two in (
        (whole.network.state_dict(), other.network.state_dict()),
        (whole.state(), other.state()),
        (whole.evaluated.state_dict(), other.evaluated.state_dict()),
    ):
        assert one.keys() == two.keys()
        assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_the_average_is_a_running_one() -> None:
    """a <- d a + (1 - d) w after each step, the first step's weights to begin with."""
    recipe = replace(RECIPE, ema=0.75)
    learner = make_learner(networks.build("resnet8-cifar", 3), recipe, CPU)
    assert learner.evaluated is not learner.network
    history = []
    learner.network.train()
    for _ in steps(learner, batches(4), recipe, lambda step: 0.05):
        history.append(learner.network.head.linear.weight.detach().clone())
    expected = None
    for weights in [*history[1:], learner.network.head.linear.weight.detach()]:
        expected = weights if expected is None else 0.75 * expected + 0.25 * weights
    assert torch.allclose(learner.evaluated.head.linear.weight, expected, atol=1e-6)


def test_without_an_average_the_network_itself_counts() -> None:
    learner = make_learner(networks.build("resnet8-cifar", 3), RECIPE, CPU)
    assert learner.evaluated is learner.network and learner.averaged is None


def test_precise_norms_are_true_averages_and_idempotent() -> None:
    """The first norm sees the first convolution: its mean over all images can be computed."""
    network = networks.build("resnet8-cifar", 3).eval()
    stem = network.features.stem
    convolution = next(m for m in stem.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in stem.modules() if isinstance(m, nn.BatchNorm2d))
    weights = {name: value.clone() for name, value in network.named_parameters()}

    precise_norms(network, batches(5), CPU)
    with torch.no_grad():
        responses = torch.stack([convolution(batch.images) for batch in batches(5)])
    assert torch.allclose(norm.running_mean, responses.mean((0, 1, 3, 4)), atol=1e-5)
    each = responses.transpose(1, 2).flatten(2).var(2).mean(0)
    assert torch.allclose(norm.running_var, each, rtol=1e-4)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(weights[name], value) for name, value in network.named_parameters())

    before = {name: value.clone() for name, value in network.state_dict().items()}
    precise_norms(network, batches(5), CPU)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_everything_of_the_state_is_a_tensor(tmp_path: Path) -> None:
    job = tiny.job(ema=0.9, epochs=1)
    learner = make_learner(job.task.network, job.recipe, job.execution)
    learn(learner, RECIPE, 0)
    assert set(learner.state()) >= {"random", "averaged.n_averaged"}
    assert all(isinstance(value, Tensor) for value in learner.state().values())
