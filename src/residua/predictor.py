"""From pictures to labels: what predict, evaluate and later serving share.

A picture passes the same door (`images`) and the same preprocessing as in training.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from residua import images
from residua.batches import evaluation
from residua.checkpoints import Weights
from residua.datasets.dataset import Split
from residua.errors import BadData
from residua.execution import Execution
from residua.protocols import PROTOCOLS

Pixels = NDArray[np.uint8]  # (h, w, 3)
PICTURES = 64  # decoded at a time


class Prediction(NamedTuple):
    """A class and its score, 0 to 1."""

    label: str
    score: float


class Answer(NamedTuple):
    """What the network says of one picture: classes by falling score, or why it has none."""

    name: str
    predictions: tuple[Prediction, ...]
    error: str = ""


class Predictor:
    """A trained network that takes pictures."""

    def __init__(self, weights: Weights, execution: Execution, protocol: str = "single") -> None:
        self.classes, self.preprocessing = weights.classes, weights.preprocessing
        self.execution, self.protocol = execution, PROTOCOLS[protocol]
        self.network = execution.place(weights.build()).eval()

    def __call__(self, batch: Tensor) -> Tensor:
        """Logits (b, classes) in float32 of inputs (b, 3, h, w)."""
        with self.execution.autocast():
            return self.network(batch).float()

    @torch.inference_mode()
    def scores(self, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
        """Scores (n, classes) of decoded pictures of any size."""
        views = np.stack([self.preprocessing.view(picture) for picture in pixels])
        split = Split(torch.from_numpy(views), torch.zeros(len(views), dtype=torch.int64))
        batches = evaluation(split, self.preprocessing, len(views), self.execution.device)
        parts = [self.protocol(self, batch.images).cpu().numpy() for batch in batches]
        return np.concatenate(parts)

    def predict(self, pictures: Iterable[Path | bytes], top: int = 5) -> Iterator[Answer]:
        """Answer for each picture, a path or the bytes of a file, in order.

        A picture that cannot be read gets an answer without predictions and does not end the work.
        """
        pending = iter(pictures)
        with ThreadPoolExecutor(self.execution.threads) as pool:
            while chunk := list(islice(pending, PICTURES)):
                decoded = list(pool.map(decoded_or_why, chunk))
                whole = [picture for picture in decoded if not isinstance(picture, BadData)]
                scores = iter(self.scores(whole)) if whole else iter(())
                for picture, pixels in zip(chunk, decoded, strict=True):
                    name = str(picture) if isinstance(picture, Path) else "bytes"
                    if isinstance(pixels, BadData):
                        yield Answer(name, (), pixels.what)
                    else:
                        yield Answer(name, self.ranked(next(scores), top))

    def ranked(self, scores: NDArray[np.float32], top: int) -> tuple[Prediction, ...]:
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
