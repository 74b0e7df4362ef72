"""One process per core, each with its share of every batch.

Threads of one process wait for each other at every layer, so a single core that is busy elsewhere
slows each of them: by up to 25 times on shared machines. Processes wait once a step. Each works on
its own core, with torch's single thread, on an equal part of the batch:

    weights     in memory that all share; only the main process changes them
    gradients   one row of shared memory for each process; the main process takes their mean
    statistics  batch norm sees one part (2016a's two GPUs saw halves); running averages are the
                mean over the parts

All else stays in the main process: order, learning rate, optimizer, checkpoints. What is summed is
summed in the order of the processes, so the same run ends with the same bits.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor

from residua.batches import Batch, order, training
from residua.datasets.dataset import Split
from residua.errors import OutOfResources
from residua.execution import own_cores, using_threads
from residua.images import Preprocessing
from residua.interrupt import deaf
from residua.learner import Learner
from residua.recipes import Recipe
from residua.steps import backward

NONE = torch.empty(0)  # the images of a batch are gathered where they are used


class Work(NamedTuple):
    """What a team learns from."""

    split: Split
    preprocessing: Preprocessing
    recipe: Recipe


class Layout(NamedTuple):
    """Where the tensors of a network lie in one row of numbers: gradients first, then averages."""

    parameters: list[Tensor]  # those that learn
    averages: list[Tensor]  # running statistics
    counters: list[Tensor]  # of the batches that these averaged

    @property
    def learning(self) -> int:
        """How many numbers learn."""
        return sum(tensor.numel() for tensor in self.parameters)

    @property
    def width(self) -> int:
        return self.learning + sum(tensor.numel() for tensor in self.averages)

    def views(self, row: Tensor) -> list[Tensor]:
        """The parts of a row in the shapes and memory formats of parameters and averages."""
        views, start = [], row.storage_offset()
        for tensor in (*self.parameters, *self.averages):
            views.append(row.as_strided(tensor.shape, tensor.stride(), start))
            start += tensor.numel()
        return views


def layout(learner: Learner) -> Layout:
    network = learner.network
    buffers = list(network.buffers())
    return Layout(
        [weight for weight in network.parameters() if weight.requires_grad],
        [buffer for buffer in buffers if buffer.is_floating_point()],
        [buffer for buffer in buffers if not buffer.is_floating_point()],
    )


def shared(*shape: int) -> Tensor:
    """Zeros, float32, in memory that processes forked from this one share with it.

    It is no file, so that containers with little room in /dev/shm have it too.
    """
    size = 4 * torch.Size(shape).numel()
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.float32).view(shape)


class Team:
    """The processes, seen from the main one."""

    def __init__(self, learner: Learner, work: Work, pipes: Sequence[Connection]) -> None:
        self.work, self.pipes = work, pipes
        self.layout = layout(learner)
        self.rows = shared(len(pipes), self.layout.width)
        self.common = shared(self.layout.width)  # weights and averages that all read
        self.mean = torch.empty(self.layout.width)  # over the rows
        tensors = [*self.layout.parameters, *self.layout.averages]
        for tensor, view in zip(tensors, self.layout.views(self.common), strict=True):
            view.copy_(tensor.detach())
            tensor.data = view

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on, without their images."""
        self.tell(("epoch", epoch, start))
        for indices in order(self.work.split, self.work.recipe, epoch)[start:]:
            yield Batch(NONE, NONE, indices)

    def backward(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of step `index` in place, on images of `size` pixels.

        Returns:
            The loss, and how many images were classified wrongly.

        Raises:
            OutOfResources: a process ended.
        """
        self.tell(("step", index, size))
        found = [self.heard(pipe) for pipe in self.pipes]
        torch.mean(self.rows, 0, out=self.mean)
        gradients = self.layout.views(self.mean)
        for weight, gradient in zip(self.layout.parameters, gradients, strict=False):
            weight.grad = gradient
        learning = self.layout.learning
        self.common[learning:] = self.mean[learning:]
        for counter in self.layout.counters:
            counter += 1
        losses, wrong = zip(*found, strict=True)
        return torch.tensor(losses).mean(), torch.tensor(sum(wrong))

    def tell(self, message: tuple[Any, ...]) -> None:
        try:
            for pipe in self.pipes:
                pipe.send(message)
        except OSError as error:
            raise ended("it no longer listens") from error

    def heard(self, pipe: Connection) -> tuple[float, int]:
        try:
            answer = pipe.recv()
        except (EOFError, OSError) as error:
            raise ended("it was killed, perhaps for want of memory") from error
        if isinstance(answer, str):
            raise ended(answer)
        return answer


def ended(why: str) -> OutOfResources:
    return OutOfResources(
        "a process that computes gradients ended", where=why, fix="resume with --processes 1"
    )


@contextmanager
def team(learner: Learner, work: Work) -> Iterator[Team]:
    """A team of the execution's number of processes, alive until the block ends."""
    context = get_context("fork")  # images and weights are not copied
    pairs = [context.Pipe() for _ in range(learner.execution.processes)]
    made = Team(learner, work, [mine for mine, _ in pairs])
    processes = [
        context.Process(target=member, args=(made, learner, rank, pairs), daemon=True)
        for rank in range(len(pairs))
    ]
    with deaf():
        for process in processes:
            process.start()
    for _, theirs in pairs:
        theirs.close()
    try:
        with using_threads(1):  # spinning threads would take the members' cores
            yield made
    finally:
        for pipe in made.pipes:
            pipe.close()
        for process in processes:
            process.join()


def member(
    team: Team, learner: Learner, rank: int, pairs: Sequence[tuple[Connection, Connection]]
) -> None:
    """Compute the gradients of one part of each batch until the main process hangs up."""
    pipe = pairs[rank][1]
    for mine, theirs in pairs:  # else a process that lives on keeps them all waiting
        mine.close()
        if theirs is not pipe:
            theirs.close()
    cores = own_cores()
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    try:
        for answer in answers(team, learner, rank, pipe):
            pipe.send(answer)
    except (EOFError, OSError):
        return
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")


def answers(
    team: Team, learner: Learner, rank: int, pipe: Connection
) -> Iterator[tuple[float, int]]:
    """The loss and the count of wrong answers of each step that is asked for."""
    (split, preprocessing, recipe), layout = team.work, team.layout
    part = (rank, len(team.pipes))
    device = learner.execution.device
    own = torch.empty(layout.width - layout.learning)  # the averages, apart from those of others
    for average, view in zip(
        layout.averages, Layout([], layout.averages, []).views(own), strict=True
    ):
        average.data = view
    row = layout.views(team.rows[rank])
    learner.network.train()
    batches: Iterator[Batch] = iter(())
    batch: Batch | None = None
    while True:
        what, *values = pipe.recv()
        if what == "epoch":
            epoch, start = values
            batches = training(split, preprocessing, recipe, epoch, device, start, part)
            batch = next(batches, None)
            continue
        index, size = values
        assert batch is not None
        own.copy_(team.common[layout.learning :])
        torch.manual_seed(hash((recipe.seed, index, rank)))  # for layers such as dropout
        loss, wrong = backward(learner, batch, recipe, index, size)
        for weight, place in zip(layout.parameters, row, strict=False):
            if weight.grad is None:  # it had no part in the loss
                place.zero_()
            else:
                place.copy_(weight.grad)
        team.rows[rank, layout.learning :] = own
        yield float(loss), int(wrong)
        batch = next(batches, None)  # while the main process updates the weights
