"""What a network gets wrong, counted over every image once, and how sure the count is.

An error is a share of images, so its 95 % interval is Wilson's for a proportion.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from residua.batches import Batch
from residua.calibration import calibration
from residua.errors import BadData
from residua.protocols import PROTOCOLS, Classifier

Interval = tuple[float, float]


def wilson(wrong: int, total: int) -> Interval:
    """The 95 % interval of an error of `wrong` in `total` (Wilson 1927)."""
    interval = binomtest(wrong, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a network on a split, and every number that follows from them."""

    protocol: str
    split: str
    classes: tuple[str, ...]
    names: tuple[str, ...]  # (n) of the images
    labels: NDArray[np.int64]  # (n)
    scores: NDArray[np.float32]  # (n, classes), each row sums to 1
    data: str  # fingerprint of the data set
    weights: str  # sha256 of the weights file
    seconds: float

    @property
    def total(self) -> int:
        return len(self.labels)

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        return self.scores.argmax(1)

    @property
    def wrong(self) -> int:
        return int((self.predictions != self.labels).sum())

    @property
    def error(self) -> float:
        """Top-1 error, a fraction."""
        return self.wrong / self.total

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the error."""
        return wilson(self.wrong, self.total)

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """How many classes score higher than the true one (n)."""
        true = np.take_along_axis(self.scores, self.labels[:, None], 1)
        return (self.scores > true).sum(1)

    @property
    def top5_error(self) -> float:
        """The share of images whose true class is not among the five highest scores."""
        return float((self.ranks >= 5).mean())

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (true class, predicted class)."""
        return confusion_matrix(self.labels, self.predictions, labels=range(len(self.classes)))

    @property
    def losses(self) -> NDArray[np.float32]:
        """The negative logarithm of the true class's score (n)."""
        true = np.take_along_axis(self.scores, self.labels[:, None], 1)[:, 0]
        return -np.log(np.maximum(true, np.finfo(np.float32).tiny))

    def per_class(self) -> list[dict[str, Any]]:
        """Error with its interval, precision, recall and F1 of each class."""
        kinds = range(len(self.classes))
        precision, recall, f1, totals = precision_recall_fscore_support(
            self.labels, self.predictions, labels=kinds, zero_division=0.0
        )
        rows = []
        for kind in kinds:
            total = int(totals[kind])
            wrong = total - int(self.confusion[kind, kind])
            rows.append(
                {
                    "class": self.classes[kind],
                    "total": total,
                    "wrong": wrong,
                    "error": wrong / total if total else None,
                    "interval": list(wilson(wrong, total)) if total else None,
                    "precision": float(precision[kind]),
                    "recall": float(recall[kind]),
                    "f1": float(f1[kind]),
                }
            )
        return rows

    def summary(self) -> dict[str, Any]:
        """The headline numbers, for JSON."""
        return {
            "protocol": self.protocol,
            "split": self.split,
            "wrong": self.wrong,
            "total": self.total,
            "error": self.error,
            "interval": list(self.interval),
            "top5_error": self.top5_error,
            "data": self.data,
            "weights": self.weights,
            "seconds": round(self.seconds, 3),
        }

    def to_dict(self) -> dict[str, Any]:
        """Every number, for evaluations/<protocol>.json."""
        return self.summary() | {
            "loss": float(self.losses.mean()),
            "calibration_error": calibration(
                self.scores.max(1), self.predictions == self.labels
            ).error,
            "per_class": self.per_class(),
            "confusion": self.confusion.tolist(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row for each image, for predictions.csv."""
        best = np.argsort(-self.scores, axis=1, kind="stable")[:, :5]
        return [
            {
                "name": self.names[index],
                "label": self.classes[label],
                "prediction": self.classes[self.predictions[index]],
                "score": f"{self.scores[index].max():.6f}",
                "loss": f"{self.losses[index]:.6f}",
                "top5": " ".join(
                    f"{self.classes[kind]}:{self.scores[index, kind]:.4f}" for kind in best[index]
                ),
            }
            for index, label in enumerate(self.labels)
        ]


@torch.inference_mode()
def score(
    network: Classifier, batches: Iterable[Batch], protocol: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scores (n, classes) and labels (n) of every image, in order.

    Raises:
        BadData: there are no images, or a score is not a number.
    """
    ask = PROTOCOLS[protocol]
    parts = [(ask(network, batch.images).cpu(), batch.labels.cpu()) for batch in batches]
    if not parts:
        raise BadData("there are no images to evaluate on")
    scores, labels = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    if not np.isfinite(scores).all():
        raise BadData("the network's scores are not numbers", fix="train it again")
    return scores, labels
