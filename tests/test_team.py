"""Several processes at one step: the same gradients, and no process left behind."""

import os
import signal
import time
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

from residua.batches import training
from residua.errors import OutOfResources, Refused
from residua.learner import Learner, make_learner
from residua.prepare import Job
from residua.steps import backward, steps
from residua.team import Work, team


def learner_of(job: Job) -> Learner:
    learner = make_learner(job.task.network, job.recipe, job.execution)
    learner.network.train()
    return learner


def work_of(job: Job) -> Work:
    return Work(job.task.train, job.task.preprocessing, job.recipe)


def in_parts(job: Job, parts: int) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients and running averages of the first step, its parts one after another."""
    found = []
    for part in range(parts):
        alone = tiny.job(**CHANGES)
        learner = learner_of(alone)
        batch = next(training(*work_of(alone), 0, torch.device("cpu"), 0, (part, parts)))
        backward(learner, batch, job.recipe, 0)
        gradients = [weight.grad for weight in learner.network.parameters()]
        averages = [each for each in learner.network.buffers() if each.is_floating_point()]
        found.append((gradients, averages))
    return tuple(  # type: ignore[return-value]
        [torch.stack(same).mean(0) for same in zip(*kind, strict=True)]
        for kind in zip(*found, strict=True)
    )


CHANGES = {"batch": 48, "crop": "pad", "label_smoothing": 0.1}


def test_gradients_and_averages_are_the_means_over_the_parts() -> None:
    gradients, averages = in_parts(tiny.job(**CHANGES), 2)
    job = tiny.job(**CHANGES, processes=2)
    learner = learner_of(job)
    with team(learner, work_of(job)) as together:
        learner.together = together.backward
        (batch, *_) = together.batches(0, 0)
        loss, wrong = together.backward(0, 0)
        assert len(batch.indices) == 48 and 1 < loss < 5 and 0 <= wrong <= 48
    for weight, expected in zip(learner.network.parameters(), gradients, strict=True):
        torch.testing.assert_close(weight.grad, expected, rtol=1e-4, atol=1e-6)
    own = [each for each in learner.network.buffers() if each.is_floating_point()]
    for average, expected in zip(own, averages, strict=True):
        torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-6)
    counters = [each for each in learner.network.buffers() if not each.is_floating_point()]
    assert {int(each) for each in counters} == {1}


def test_without_norms_parts_make_no_difference() -> None:
    """The mean gradient of equal parts is the gradient of the batch."""

    def gradients(processes: int) -> list[Tensor]:
        job = tiny.job(**CHANGES, processes=processes, network="resnet8-cifar-fixup")
        learner = learner_of(job)
        if processes == 1:
            batch = next(training(*work_of(job), 0, torch.device("cpu")))
            backward(learner, batch, job.recipe, 0)
        else:
            with team(learner, work_of(job)) as together:
                list(together.batches(0, 0))
                together.backward(0, 0)
        return [weight.grad for weight in learner.network.parameters() if weight.grad is not None]

    for one, two in zip(gradients(1), gradients(2), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_weights_that_the_main_process_changes_are_those_of_all() -> None:
    """Learning by two processes is learning: the loss falls, and every step sees the last one."""
    job = tiny.job(**CHANGES | {"crop": "none"}, processes=2)
    learner = learner_of(job)
    with team(learner, work_of(job)) as together:
        learner.together = together.backward
        losses = [
            float(step.loss)
            for epoch in range(6)
            for step in steps(learner, together.batches(epoch, 0), job.recipe, lambda step: 0.1)
        ]
    assert sum(losses[-4:]) < 0.6 * sum(losses[:4])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_member_ends_the_training_with_a_clear_error(number: signal.Signals) -> None:
    job = tiny.job(**CHANGES, processes=2)
    learner = learner_of(job)
    with team(learner, work_of(job)) as together:
        list(together.batches(0, 0))
        together.backward(0, 0)
        child = children()[0]
        os.kill(child, number)
        if number is signal.SIGTERM:  # which goes to the main process, too, and is its to obey
            together.backward(1, 0)
            return
        with pytest.raises(OutOfResources) as ended:
            for index in range(1, 3):
                together.backward(index, 0)
    assert "--processes 1" in (ended.value.fix or "")


def test_no_member_outlives_the_block() -> None:
    job = tiny.job(**CHANGES, processes=2)
    learner = learner_of(job)
    with team(learner, work_of(job)):
        assert len(children()) == 1
    assert children() == []


def test_a_failing_member_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    main = os.getpid()

    def failing(*arguments: Any) -> tuple[Tensor, Tensor]:
        if os.getpid() != main:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return backward(*arguments)

    monkeypatch.setattr("residua.team.backward", failing)
    job = tiny.job(**CHANGES, processes=2)
    learner = learner_of(job)
    with team(learner, work_of(job)) as together:
        list(together.batches(0, 0))
        with pytest.raises(OutOfResources, match="allocate memory"):
            together.backward(0, 0)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(Refused, match="cannot be shared by 3"):
        tiny.job(batch=32, processes=3)


def test_more_processes_than_cores_are_refused() -> None:
    with pytest.raises(Refused) as refused:
        tiny.job(batch=1024, processes=1024)
    assert "cores" in refused.value.what


def children() -> list[int]:
    """Process numbers of the living children of this process."""
    time.sleep(0.05)
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children") as file:
        return [int(word) for word in file.read().split()]
