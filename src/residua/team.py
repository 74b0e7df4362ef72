"""One process per core, each with its share of every batch.

Threads of one process wait for each other at every layer, so a single core that is busy elsewhere
slows each of them: by up to 25 times on shared machines. Processes wait once a step. Each works on
its own core, with torch's single thread, on an equal part of the batch:

    weights     in memory that all share; only the main process changes them
    gradients   one row of shared memory for each process; the main one takes their mean
    statistics  batch norm sees one part (2016a's two GPUs saw halves); running averages are the
                mean over the parts

The main process is one of them; all else is its own: order, learning rate, optimizer, checkpoints.
What is summed is summed in the order of the processes, so the same run ends with the same bits.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import NamedTuple

import torch
from torch import Tensor

from residua.batches import Batch, order, training
from residua.datasets.dataset import Split
from residua.errors import OutOfResources
from residua.execution import using_threads
from residua.images import Preprocessing
from residua.interrupt import deaf
from residua.learner import Learner
from residua.recipes import Recipe
from residua.resources import own_cores
from residua.steps import backward

NONE = torch.empty(0)  # the images of a batch are gathered where they are used


class Work(NamedTuple):
    """What a team learns from."""

    split: Split
    preprocessing: Preprocessing
    recipe: Recipe


class Layout(NamedTuple):
    """Where the tensors of a network lie in one row of numbers: gradients first, then averages."""

    parameters: Sequence[Tensor]  # those that learn
    averages: Sequence[Tensor]  # running statistics

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
    parameters = [weight for weight in learner.network.parameters() if weight.requires_grad]
    averages = [each for each in learner.network.buffers() if each.is_floating_point()]
    return Layout(parameters, averages)


def shared(*shape: int) -> Tensor:
    """Zeros, float32, in memory that processes forked from this one share with it.

    It is no file, so that containers with little room in /dev/shm have it too.
    """
    size = 4 * torch.Size(shape).numel()
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.float32).view(shape)


class Board(NamedTuple):
    """What all processes read and write."""

    layout: Layout
    common: Tensor  # (width) weights and averages, changed between steps by the main process
    rows: Tensor  # (processes, width) gradients and averages of each

    @property
    def averages(self) -> Tensor:
        return self.common[self.layout.learning :]


class Member:
    """One process's part of each step."""

    def __init__(self, board: Board, learner: Learner, work: Work, rank: int) -> None:
        self.board, self.learner, self.work, self.rank = board, learner, work, rank
        # Averages of its own: those of others change while it computes.
        self.averages = board.averages.clone()
        for tensor, view in zip(
            board.layout.averages,
            Layout([], board.layout.averages).views(self.averages),
            strict=True,
        ):
            tensor.data = view
        self.places = board.layout.views(board.rows[rank])
        self.batches: Iterator[Batch] = iter(())

    def begin(self, epoch: int, start: int) -> None:
        """Turn to an epoch, at step `start`."""
        device, part = self.learner.execution.device, (self.rank, len(self.board.rows))
        self.batches = training(*self.work, epoch, device, start, part)

    def step(self, batch: Batch, index: int, size: int) -> tuple[float, int]:
        """Leave gradients and averages in the row; the loss, and how many were wrong."""
        layout, recipe = self.board.layout, self.work.recipe
        self.averages.copy_(self.board.averages)
        torch.manual_seed(hash((recipe.seed, index, self.rank)))  # for layers such as dropout
        loss, wrong = backward(self.learner, batch, recipe, index, size)
        gradients = [
            torch.zeros_like(weight) if weight.grad is None else weight.grad  # None: had no part
            for weight in layout.parameters
        ]
        torch._foreach_copy_(self.places[: len(gradients)], gradients)
        self.board.rows[self.rank, layout.learning :] = self.averages
        return float(loss), int(wrong)


class Team:
    """The processes, seen from the main one."""

    def __init__(self, member: Member, pipes: Sequence[Connection]) -> None:
        self.member, self.pipes = member, pipes
        self.mean = torch.empty_like(member.board.common)  # over the rows

    def batches(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on, without their images."""
        self.tell(("epoch", epoch, start))
        self.member.begin(epoch, start)
        for indices in order(self.member.work.split, self.member.work.recipe, epoch)[start:]:
            yield Batch(NONE, NONE, indices)

    def backward(self, index: int, size: int) -> tuple[Tensor, Tensor]:
        """Leave the gradients of step `index` in place, on images of `size` pixels.

        Returns:
            The loss, and how many images were classified wrongly.

        Raises:
            OutOfResources: a process ended.
        """
        self.tell(("step", index, size))
        own = self.member.step(next(self.member.batches), index, size)
        found = [own, *map(self.heard, self.pipes)]
        layout, _, rows = self.member.board
        torch.mean(rows, 0, out=self.mean)
        gradients = layout.views(self.mean)
        for weight, gradient in zip(layout.parameters, gradients, strict=False):
            weight.grad = gradient
        averages = self.mean[layout.learning :]
        self.member.board.averages.copy_(averages)
        self.member.averages.copy_(averages)
        losses, wrong = zip(*found, strict=True)
        return torch.tensor(losses).mean(), torch.tensor(sum(wrong))

    def tell(self, message: tuple[str, int, int]) -> None:
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
    board = laid_out(learner)
    context = get_context("fork")  # images and weights are not copied
    pairs = [context.Pipe() for _ in board.rows[1:]]
    processes = [
        context.Process(target=follow, args=(board, learner, work, rank, pairs), daemon=True)
        for rank in range(1, len(board.rows))
    ]
    with deaf():
        for process in processes:
            process.start()
    for _, theirs in pairs:
        theirs.close()
    pipes = [mine for mine, _ in pairs]
    try:
        with using_threads(1):  # spinning threads would take the others' cores
            yield Team(Member(board, learner, work, 0), pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join()


def laid_out(learner: Learner) -> Board:
    """Move a learner's weights into memory that its processes will share."""
    places = layout(learner)
    common = shared(places.width)
    for tensor, view in zip(
        (*places.parameters, *places.averages), places.views(common), strict=True
    ):
        view.copy_(tensor.detach())
        tensor.data = view
    return Board(places, common, shared(learner.execution.processes, places.width))


def follow(
    board: Board,
    learner: Learner,
    work: Work,
    rank: int,
    pairs: Sequence[tuple[Connection, Connection]],
) -> None:
    """Compute one part of each step that is asked for, until the main process hangs up."""
    pipe = pairs[rank - 1][1]
    for mine, theirs in pairs:  # else a process that lives on keeps them all waiting
        mine.close()
        if theirs is not pipe:
            theirs.close()
    cores = own_cores()
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    torch.set_num_threads(1)
    learner.network.train()
    try:
        answer(Member(board, learner, work, rank), pipe)
    except (EOFError, OSError):
        return
    except Exception as error:
        with suppress(OSError):  # the main process may have failed, too
            pipe.send(f"{type(error).__name__}: {error}")


def answer(member: Member, pipe: Connection) -> None:
    """Obey what the main process tells."""
    batch: Batch | None = None
    while True:
        what, *values = pipe.recv()
        if what == "epoch":
            member.begin(*values)
        else:
            assert batch is not None
            pipe.send(member.step(batch, *values))
        batch = next(member.batches, None)  # while the main process updates the weights
