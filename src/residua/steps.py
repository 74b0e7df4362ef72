"""The training loop.

It pauses after each backward pass with the gradients in place, so that a diagnosis of gradients is
a `for` statement over it:

    for step in steps(learner, batches, recipe, rate):
        norms.append([weight.grad.norm() for weight in learner.network.parameters()])
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from residua import augment
from residua.batches import Batch
from residua.errors import Diverged
from residua.execution import Outputs
from residua.learner import Learner
from residua.recipes import Recipe

AUXILIARY = 0.3  # weight of the loss of each auxiliary head
REMEDY = "lower --learning-rate, add --warmup 0.1, or clip gradients with --clip 1"


class Step(NamedTuple):
    """One step, its gradients in place; its tensors lie on the device, and reading one waits."""

    step: int
    loss: Tensor
    wrong: Tensor  # images of the batch that were classified wrongly
    images: int


def steps(
    learner: Learner,
    batches: Iterable[Batch],
    recipe: Recipe,
    rate: Callable[[int], float],
    first: int = 0,
    size: Callable[[int], int] | None = None,
) -> Iterator[Step]:
    """Take one optimizer step for each batch, pausing after each backward pass.

    The update of a step happens when the next one is asked for: breaking out of the loop skips it.

    Args:
        learner: the network and its optimizer, in training mode.
        batches: one for each step.
        recipe: decides the loss.
        rate: the learning rate at a step.
        first: index of the first step.
        size: height and width that the images of a step are shrunk to; by default theirs.

    Raises:
        Diverged: the loss is not finite; the weights are those before the step.
    """
    network, optimizer, execution = learner.network, learner.optimizer, learner.execution
    scaler = execution.scaler
    for index, batch in enumerate(batches, first):
        for group in optimizer.param_groups:
            group["lr"] = rate(index)
        pixels = size(index) if size is not None else 0
        if learner.together is not None:
            loss, wrong = learner.together(index, pixels)
        else:
            loss, wrong = backward(learner, batch, recipe, index, pixels)
        scaler.unscale_(optimizer)
        if recipe.clip:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        if index % execution.check_every == 0 and not loss.isfinite():
            raise diverged(index, rate(index), batch)
        yield Step(index, loss, wrong, len(batch.indices))
        scaler.step(optimizer)
        scaler.update()
        if learner.averaged is not None:
            learner.averaged.update_parameters(network)


def backward(
    learner: Learner, batch: Batch, recipe: Recipe, index: int, size: int = 0
) -> tuple[Tensor, Tensor]:
    """Leave the gradients of a batch in place; its loss, and how many were classified wrongly.

    The images are shrunk to `size` pixels, unless it is 0.
    """
    learner.network.zero_grad(set_to_none=True)
    if size:
        batch = batch._replace(images=augment.shrink(batch.images, size))
    with learner.execution.autocast():
        loss, logits = objective(learner.outputs, batch, recipe, index)
    learner.execution.scaler.scale(loss).backward()
    return loss.detach(), (logits.detach().argmax(1) != batch.labels).sum()


def objective(outputs: Outputs, batch: Batch, recipe: Recipe, index: int) -> tuple[Tensor, Tensor]:
    """The loss of a batch and its logits (b, classes), both in float32.

    Auxiliary heads add theirs (Szegedy et al. 2014, section 5).
    """
    images, share = batch.images, 1.0
    if recipe.mixup:
        draw = np.random.default_rng((recipe.seed, index))
        share = float(draw.beta(recipe.mixup, recipe.mixup))
        images = augment.mixup(images, share)

    def loss(logits: Tensor) -> Tensor:
        own = wrongness(logits, batch.labels, recipe)
        if not recipe.mixup:
            return own
        return share * own + (1 - share) * wrongness(logits, batch.labels.flip(0), recipe)

    logits, *auxiliary = (each.float() for each in outputs(images))
    total = loss(logits)
    for each in auxiliary:
        total = total + AUXILIARY * loss(each)
    return total, logits


def wrongness(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """The loss of logits (b, classes), a mean over images.

    The binary one is a sum over classes: a mean would make gradients small where these are many.
    """
    smoothing = recipe.label_smoothing
    if recipe.loss == "cross-entropy":
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    classes = logits.shape[1]
    wanted = F.one_hot(labels, classes).to(logits) * (1 - smoothing) + smoothing / classes
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(logits)


def diverged(index: int, rate: float, batch: Batch) -> Diverged:
    worst = ", ".join(str(position) for position in batch.indices[:8].tolist())
    return Diverged(
        f"the loss is no longer finite at step {index}",
        where=f"learning rate {rate:g}, training images {worst} ...",
        fix=REMEDY,
    )
