"""The loop: gradients in place at each pause, the loss as the recipe says, divergence noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_learner import CPU, RECIPE, batches
from torch.nn import functional as F

from residua import networks
from residua.batches import Batch
from residua.errors import Diverged
from residua.execution import execution
from residua.learner import Learner, make_learner
from residua.recipes import Recipe
from residua.steps import objective, steps


def learner(recipe: Recipe = RECIPE) -> Learner:
    made = make_learner(networks.build("resnet8-cifar", 3), recipe, CPU)
    made.network.train()
    return made


def test_a_step_pauses_with_gradients_before_the_update() -> None:
    """The update by hand, w - r (g + d w) of plain SGD, is the one that the next pause shows."""
    recipe = replace(RECIPE, momentum=0.0)
    job = learner(recipe)
    weight = job.network.head.linear.weight
    expected = None
    for step in steps(job, batches(4), recipe, lambda step: 0.1 / (step + 1), first=2):
        if expected is not None:
            assert torch.allclose(weight, expected, atol=1e-6)
        assert weight.grad is not None and weight.grad.abs().sum() > 0
        rate = 0.1 / (step.step + 1)
        expected = (weight - rate * (weight.grad + 1e-3 * weight)).detach()
    assert expected is not None and torch.allclose(weight, expected, atol=1e-6)
    assert step.step == 5


def test_breaking_out_skips_the_update() -> None:
    job = learner()
    before = job.network.head.linear.weight.detach().clone()
    for _ in steps(job, batches(4), RECIPE, lambda step: 0.1):
        break
    assert torch.equal(job.network.head.linear.weight, before)


def test_a_step_counts_its_batch() -> None:
    job = learner()
    (step,) = steps(job, batches(1), RECIPE, lambda step: 0.0)
    (batch,) = batches(1)
    fresh = learner().network
    logits = fresh(batch.images)
    assert step.images == 8
    assert int(step.wrong) == int((logits.argmax(1) != batch.labels).sum())
    assert float(step.loss) == pytest.approx(F.cross_entropy(logits, batch.labels).item())


def test_every_group_learns_at_the_rate_of_the_step() -> None:
    recipe = replace(RECIPE, decay_norms=False)
    job = learner(recipe)
    rates = [
        [group["lr"] for group in job.optimizer.param_groups]
        for _ in steps(job, batches(2), recipe, lambda step: 0.4 - step / 10)
    ]
    assert rates == [[0.4, 0.4], [pytest.approx(0.3)] * 2]


def test_clipping_bounds_the_gradient() -> None:
    recipe = replace(RECIPE, clip=0.01)
    job = learner(recipe)
    for _ in steps(job, batches(2), recipe, lambda step: 0.1):
        squares = [weight.grad.square().sum() for weight in job.network.parameters()]  # type: ignore[union-attr]
        assert float(torch.stack(squares).sum().sqrt()) <= 0.01001


def test_label_smoothing_spreads_the_label() -> None:
    network = networks.build("resnet8-cifar", 3).eval()
    (batch,) = batches(1)
    loss, logits = objective(network.outputs, batch, replace(RECIPE, label_smoothing=0.3), 0)
    target = F.one_hot(batch.labels, 3) * 0.7 + 0.1
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_binary_loss_asks_of_each_class_alone() -> None:
    network = networks.build("resnet8-cifar", 3).eval()
    (batch,) = batches(1)
    recipe = replace(RECIPE, loss="binary", label_smoothing=0.3)
    loss, logits = objective(network.outputs, batch, recipe, 0)
    target = F.one_hot(batch.labels, 3) * 0.7 + 0.1
    yes, no = logits.sigmoid().log(), (1 - logits.sigmoid()).log()
    expected = -(target * yes + (1 - target) * no).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_mixup_blends_images_and_labels_by_one_share_for_each_step() -> None:
    network = networks.build("resnet8-cifar", 3).eval()
    recipe = replace(RECIPE, mixup=1.0, seed=7)
    (batch,) = batches(1)
    losses = []
    for index in (0, 1, 0):
        share = float(np.random.default_rng((7, index)).beta(1.0, 1.0))
        mixed = share * batch.images + (1 - share) * batch.images.flip(0)
        target = share * F.one_hot(batch.labels, 3) + (1 - share) * F.one_hot(batch.labels, 3).flip(
            0
        )
        expected = -(target * network(mixed).log_softmax(1)).sum(1).mean()
        loss, _ = objective(network.outputs, batch, recipe, index)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
        losses.append(loss.item())
    assert losses[0] == losses[2] != losses[1]


def test_a_loss_that_is_not_finite_ends_the_work_before_the_update() -> None:
    job = learner()
    (good,) = batches(1)
    bad = Batch(good.images * float("inf"), good.labels, torch.arange(40, 48))
    before = [weight.detach().clone() for weight in job.network.parameters()]
    with pytest.raises(Diverged) as diverged:
        list(steps(job, [bad], RECIPE, lambda step: 0.25, first=11))
    assert "step 11" in diverged.value.what
    assert "learning rate 0.25" in diverged.value.where and "40, 41" in diverged.value.where
    assert "--learning-rate" in diverged.value.fix and diverged.value.exit_code == 5
    after = job.network.parameters()
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_bf16_learns_with_weights_in_fp32() -> None:
    run_on = execution(Recipe(precision="bf16", threads=1))
    job = make_learner(networks.build("resnet8-cifar", 3), RECIPE, run_on)
    job.network.train()
    fixed = list(batches(1)) * 12
    losses = [float(step.loss) for step in steps(job, fixed, RECIPE, lambda step: 0.05)]
    assert losses[-1] < losses[0]
    assert {weight.dtype for weight in job.network.parameters()} == {torch.float32}


def test_auxiliary_heads_add_three_tenths_of_their_losses() -> None:
    network = networks.build("googlenet", 3).eval()
    batch = Batch(torch.randn(2, 3, 64, 64), torch.tensor([0, 2]), torch.arange(2))

    loss, logits = objective(network.outputs, batch, Recipe(label_smoothing=0.1), 0)

    with torch.no_grad():
        main, *others = (
            F.cross_entropy(each, batch.labels, label_smoothing=0.1)
            for each in network.outputs(batch.images)
        )
        assert torch.equal(logits, network(batch.images))
    assert len(others) == 2
    assert loss.item() == pytest.approx((main + 0.3 * sum(others)).item(), rel=1e-5)
