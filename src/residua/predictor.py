"""From pictures to labels and feature vectors: what predict, evaluate and later serving share.

A picture passes the same door (`images`) and the same preprocessing as in training. Its feature
vector is the output of a stage averaged over all positions, by default of the last stage: what the
head classifies (He et al. 2016a, table 1). An engine runs the network; by default torch, plainly.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from residua import augment, engines, images
from residua.batches import statistics
from residua.checkpoints import Weights
from residua.engines import PLAIN, Choice, Job
from residua.errors import BadData, Refused
from residua.execution import Execution
from residua.networks.dense import positions, sliding
from residua.networks.graph import graph
from residua.networks.network import Network
from residua.protocols import Protocol, scales_of
from residua.resources import require

Pixels = NDArray[np.uint8]  # (h, w, 3)
Floats = NDArray[np.float32]
PICTURES = 64  # decoded at a time
VIEWS = 500  # in a step of the network, but no more than
PIXELS = 50 * 224 * 224  # in all of them
SINGLE = Protocol()


class Prediction(NamedTuple):
    """A class and its score, 0 to 1."""

    label: str
    score: float


class Answer(NamedTuple):
    """What the network says of one picture: classes by falling score, or why it has none."""

    name: str
    predictions: tuple[Prediction, ...]
    error: str = ""
    features: Floats | None = None  # (width), where they are asked for


class Predictor:
    """A trained network that takes pictures.

    Args:
        weights: of the network, and how it sees pictures.
        execution: the device, and the precision where the choice names none.
        protocol: the views of a picture.
        choice: the engine.
        calibration: pictures from which int8 takes the ranges of its numbers.

    Raises:
        Refused: this machine lacks the engine or the precision, or the engine cannot do what the
            protocol asks for.
    """

    def __init__(
        self,
        weights: Weights,
        execution: Execution,
        protocol: Protocol = SINGLE,
        choice: Choice = PLAIN,
        calibration: Sequence[Pixels] = (),
    ) -> None:
        self.execution, self.protocol = execution, protocol
        self.classes, self.preprocessing = weights.classes, weights.preprocessing
        self.network = weights.build()
        execution.place(self.network)
        self.mean, self.std = statistics(self.preprocessing, execution.device)
        if protocol.dense:
            possible(self.network, protocol, self.preprocessing)
        self.ready = engines.ready(choice.engine, self.job(choice, calibration))
        self.notes = self.ready.notes
        if choice.engine == "torch" and choice.precision:
            self.execution = replace(execution, precision=choice.precision)
        elif choice.engine != "torch":  # the view has the precision in its weights
            self.execution = replace(execution, precision="fp32")
        self.view = self.ready.network or self.network
        self.head: nn.Module = self.view.head
        if protocol.dense:
            places = positions(self.network, self.preprocessing.size)
            self.head = nn.Sequential(*sliding(self.view, places))

    def job(self, choice: Choice, calibration: Sequence[Pixels]) -> Job:
        """What the engine is asked for."""
        size, usual = self.preprocessing.size, self.execution.precision
        batch = max(1, min(PICTURES, PIXELS // size**2))
        if choice.images and not self.protocol.dense:
            views = len(self.views(np.zeros((size, size, 3), np.uint8)))
            batch = min(batch, choice.images * views)
        return Job(
            self.network,
            self.execution,
            choice.precision or ("" if choice.engine == "auto" else usual),
            (batch, self.network.channels, size, size),
            choice.images,
            choice.features or self.protocol.dense,
            self.inputs(calibration) if calibration else None,
        )

    @torch.inference_mode()
    def inputs(self, pixels: Sequence[Pixels]) -> Tensor:
        """Inputs (n, 3, h, w) of decoded pictures of any size, one view each."""
        views = np.stack([self.preprocessing.view(picture) for picture in pixels])
        return self.normalized(torch.from_numpy(views))

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits (b, classes) in float32 of inputs (b, 3, h, w), averaged over places if dense."""
        self.network.check(batch.shape)
        if self.ready.logits is not None:
            return self.ready.logits(batch)
        with self.execution.autocast():
            logits = self.head(self.view.features(batch)).float()
        return logits.mean((2, 3)) if self.protocol.dense else logits

    @property
    def most(self) -> int:
        """Pixels in a step of the network."""
        return min(PIXELS, self.ready.pixels or PIXELS)

    def views(self, pixels: Pixels) -> list[Pixels]:
        """What the protocol shows of a decoded picture of any size."""
        return self.protocol.views(pixels, self.preprocessing)

    def scores(self, pixels: Sequence[Pixels]) -> Floats:
        """Scores (n, classes) of decoded pictures of any size."""
        return self.scores_of([self.views(picture) for picture in pixels])

    @torch.inference_mode()
    def scores_of(self, pictures: Sequence[Sequence[Pixels]]) -> Floats:
        """Scores (n, classes) of pictures of which the views are given."""
        early = self.protocol.average == "softmax"
        total = torch.zeros(len(pictures), len(self.classes), dtype=torch.float64)
        for places, batch in alike(pictures, self.most):
            logits = self(self.normalized(torch.from_numpy(batch)))
            total.index_add_(0, places, (logits.softmax(1) if early else logits).double().cpu())
        mean = total / torch.tensor([[len(views)] for views in pictures])
        return (mean if early else mean.softmax(1)).float().numpy()

    def normalized(self, batch: Tensor) -> Tensor:
        """Views (b, h, w, 3) as inputs (b, 3, h, w).

        Other sizes than the training size have no mean of each pixel; that of the channels is used.
        """
        same = self.mean.dim() == 1 or batch.shape[1:3] == self.mean.shape[:2]
        mean = self.mean if same else self.mean.mean((0, 1))
        return augment.normalize(batch.to(self.execution.device), mean, self.std)

    def features(self, pixels: Sequence[Pixels], level: int | None = None) -> Floats:
        """Feature vectors (n, width) of decoded pictures of any size.

        Args:
            pixels: RGB (h, w, 3) each.
            level: of the map that is averaged, as in `Features.forward`; by default the last map.

        Raises:
            Refused: the network has no such level.
        """
        return self.both(pixels, self.stage(level))[1]

    def stage(self, level: int | None = None) -> str:
        """The stage whose output is the last feature map of a level, or the last of all.

        Raises:
            Refused: the network has no such level.
        """
        features = self.network.features
        if level is None:
            return [name for name, _ in features.named_children()][-1]
        stages = features.levels()
        if level not in stages:
            raise Refused(
                f"{self.network.name} has no level {level}",
                where="a level l has feature maps of the input's size divided by 2^l",
                fix=f"choose among {', '.join(map(str, stages))}",
            )
        return stages[level]

    @torch.inference_mode()
    def both(self, pixels: Sequence[Pixels], stage: str) -> tuple[Floats, Floats]:
        """Scores (n, classes) and features (n, width) of a stage, of one view in one pass."""
        views = [[self.preprocessing.view(picture)] for picture in pixels]  # all of one shape
        batches = (torch.from_numpy(batch) for _, batch in alike(views, self.most))
        parts = [self.forward(self.normalized(batch), stage) for batch in batches]
        logits, features = (torch.cat(column) for column in zip(*parts, strict=True))
        return logits.softmax(1).cpu().numpy(), features.cpu().numpy()

    def forward(self, batch: Tensor, stage: str) -> tuple[Tensor, Tensor]:
        """Logits (b, classes) and features (b, width) of inputs (b, 3, h, w), in float32.

        Raises:
            Refused: the engine gives scores only.
        """
        self.network.check(batch.shape)
        if self.ready.logits is not None:
            fix = "choose the engine torch or folded"
            raise Refused("this engine gives no feature maps", fix=fix)
        x = features = batch
        with self.execution.autocast():
            for name, part in self.view.features.named_children():
                x = part(x)  # (b, c, h, w)
                if name == stage:
                    features = x.float().mean((2, 3))
            return self.view.head(x).float(), features

    def predict(
        self, pictures: Iterable[Path | bytes], top: int = 5, stage: str = ""
    ) -> Iterator[Answer]:
        """Answer for each picture, a path or the bytes of a file, in order.

        A picture that cannot be read gets an answer without predictions and does not end the work.
        A `stage` adds its features to the answers.
        """
        pending = iter(pictures)
        with ThreadPoolExecutor(self.execution.threads) as pool:
            while chunk := list(islice(pending, PICTURES)):
                decoded = list(pool.map(decoded_or_why, chunk))
                whole = [picture for picture in decoded if not isinstance(picture, BadData)]
                rows = self.rows(whole, stage)
                for picture, pixels in zip(chunk, decoded, strict=True):
                    name = str(picture) if isinstance(picture, Path) else "bytes"
                    if isinstance(pixels, BadData):
                        yield Answer(name, (), pixels.what)
                    else:
                        scores, features = next(rows)
                        yield Answer(name, self.ranked(scores, top), features=features)

    def rows(self, pixels: Sequence[Pixels], stage: str) -> Iterator[tuple[Floats, Floats | None]]:
        """Scores (classes) and, where a stage is given, features (width) of each picture."""
        if not pixels:
            return iter(())
        if not stage:
            return ((scores, None) for scores in self.scores(pixels))
        return zip(*self.both(pixels, stage), strict=True)

    def ranked(self, scores: Floats, top: int) -> tuple[Prediction, ...]:
        """The `top` classes by falling score."""
        best = np.argsort(-scores, kind="stable")[:top]
        return tuple(Prediction(self.classes[kind], float(scores[kind])) for kind in best)


def decoded_or_why(picture: Path | bytes) -> Pixels | BadData:
    """The pixels of a picture, or the error that says why there are none."""
    read: Callable[[Path | bytes], Pixels] = (
        images.read if isinstance(picture, Path) else images.decode  # type: ignore[assignment]
    )
    try:
        return read(picture)
    except BadData as error:
        return error


def alike(
    pictures: Sequence[Sequence[Pixels]], pixels: int = PIXELS
) -> Iterator[tuple[Tensor, NDArray[np.uint8]]]:
    """Yield views of one shape (b, h, w, 3), with the position of the picture of each (b).

    There are at most VIEWS of them, of as many `pixels` in all.
    """
    by_shape: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}
    for position, views in enumerate(pictures):
        for view in views:
            by_shape.setdefault(view.shape, []).append((position, view))
    for (height, width, _), same in by_shape.items():
        most = max(1, min(VIEWS, pixels // (height * width)))
        for start in range(0, len(same), most):
            places, batch = zip(*same[start : start + most], strict=True)
            yield torch.tensor(places), np.stack(batch)


def possible(network: Network, protocol: Protocol, preprocessing: images.Preprocessing) -> None:
    """Refuse scales at which the network cannot be applied, before any picture is read.

    Raises:
        Refused: a scale is below the training size.
        OutOfResources: the feature maps of a scale would not fit into memory.
    """
    scales = scales_of(protocol, preprocessing)
    if min(scales) < preprocessing.size:
        raise Refused(
            f"at {min(scales)} pixels {network.name} has no place to look at",
            where=f"scales {', '.join(map(str, scales))}",
            fix=f"choose scales from {preprocessing.size}, the size that it was trained on",
        )
    side = max(scales)
    drawn = graph(network.features, (network.channels, side, images.LONGEST * side))
    need = 4 * 3 * max(math.prod(node.shape) for node in drawn.nodes)  # a block holds about three
    require(need, f"a scale of {side} pixels needs about", "choose smaller --scales")
