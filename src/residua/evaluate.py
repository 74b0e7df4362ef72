"""What networks get wrong, counted over every image once, and how sure the count is.

An error is a share of images, so its 95 % interval is Wilson's for a proportion. An image that
could not be read counts as wrong.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from residua import durable
from residua.calibration import by_chance, calibration
from residua.comparisons import Answers
from residua.environment import environment
from residua.errors import BadData, Refused
from residua.intervals import Interval, wilson
from residua.protocols import Protocol

NOTHING = -1  # the prediction for an image that could not be read


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of a network, or of several together, on a split, and what follows from them."""

    protocol: Protocol
    split: str
    classes: tuple[str, ...]
    names: tuple[str, ...]  # (n) of the images
    labels: NDArray[np.int64]  # (n)
    scores: NDArray[np.float32]  # (n, classes), each row sums to 1; zeros where unreadable
    readable: NDArray[np.bool_]  # (n)
    data: str  # fingerprint of the data set
    weights: tuple[str, ...]  # sha256 of each network's
    seconds: float
    skipped: tuple[str, ...] = ()  # images that could not be read and were not to count
    scales: tuple[int, ...] = ()  # of the views in pixels, of multi-scale
    notes: tuple[str, ...] = ()  # what the engines did without

    @property
    def total(self) -> int:
        return len(self.labels)

    @cached_property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the highest score (n), NOTHING for an image that could not be read."""
        return np.where(self.readable, self.scores.argmax(1), NOTHING)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        return self.predictions == self.labels

    @property
    def confidence(self) -> NDArray[np.float32]:
        """The highest score of each image (n)."""
        return self.scores.max(1)

    @property
    def wrong(self) -> int:
        return int((~self.right).sum())

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
        ranks = (self.scores > true).sum(1)
        return np.where(self.readable, ranks, len(self.classes))

    @property
    def top5_error(self) -> float:
        """The share of images whose true class is not among the five highest scores."""
        return float(((self.ranks >= 5) | ~self.readable).mean())

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Counts (true class, predicted class) of the images that could be read."""
        kinds = range(len(self.classes))
        some = self.readable
        if not some.any():
            return np.zeros((len(kinds), len(kinds)), np.int64)
        return confusion_matrix(self.labels[some], self.predictions[some], labels=kinds)

    @property
    def losses(self) -> NDArray[np.float32]:
        """The negative logarithm of the true class's score (n)."""
        true = np.take_along_axis(self.scores, self.labels[:, None], 1)[:, 0]
        return -np.log(np.maximum(true, np.finfo(np.float32).tiny))

    @cached_property
    def chance(self) -> tuple[float, float]:
        """The calibration error that perfect scores would show on so few images, and at most."""
        return by_chance(self.confidence[self.readable])

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

    def without(self, images: NDArray[np.int64]) -> "Evaluation":
        """The same without the images at these positions."""
        left = np.setdiff1d(np.arange(self.total), images)
        return replace(
            self,
            names=tuple(self.names[index] for index in left),
            labels=self.labels[left],
            scores=self.scores[left],
            readable=self.readable[left],
        )

    def answers(self, network: str) -> Answers:
        """What it answered, by class name, for a comparison."""
        names = (*self.classes, "")  # no class's name; NOTHING counts from the end
        return Answers(
            network,
            self.names,
            [names[label] for label in self.labels],
            [names[prediction] for prediction in self.predictions],
        )

    def summary(self) -> dict[str, Any]:
        """The headline numbers, for JSON."""
        unreadable = int((~self.readable).sum())
        return {
            "protocol": self.protocol.name,
            "views": asdict(self.protocol),
            "split": self.split,
            "wrong": self.wrong,
            "total": self.total,
            "error": self.error,
            "interval": list(self.interval),
            "top5_error": self.top5_error,
            "unreadable": unreadable,
            "skipped": list(self.skipped),
            "scales": list(self.scales),
            "data": self.data,
            "weights": self.weights[0] if len(self.weights) == 1 else list(self.weights),
            "seconds": round(self.seconds, 3),
        }

    def to_dict(self) -> dict[str, Any]:
        """Every number, for evaluations/<protocol>.json."""
        some = self.readable
        sure = self.confidence[some]
        return self.summary() | {
            "loss": float(self.losses[some].mean()),  # of no answer there is none
            "calibration_error": calibration(sure, self.right[some]).error,
            "calibration_error_by_chance": list(self.chance),
            "per_class": self.per_class(),
            "confusion": self.confusion.tolist(),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row for each image, for predictions.csv; without answers where unreadable."""
        columns, empty = ("prediction", "score", "loss", "top5"), ("",) * 4
        best = np.argsort(-self.scores, axis=1, kind="stable")[:, :5]
        scores, losses = self.scores, self.losses

        def answer(index: int) -> tuple[str, ...]:
            top = (f"{self.classes[kind]}:{scores[index, kind]:.4f}" for kind in best[index])
            prediction = self.classes[self.predictions[index]]
            return prediction, f"{scores[index].max():.6f}", f"{losses[index]:.6f}", " ".join(top)

        return [
            {"name": self.names[index], "label": self.classes[label]}
            | dict(zip(columns, answer(index) if self.readable[index] else empty, strict=True))
            for index, label in enumerate(self.labels)
        ]


# On disk: <protocol>.json with every number, <protocol>.npz with every image.


def write(evaluation: Evaluation, folder: Path, more: dict[str, Any]) -> Path:
    """Write an evaluation, and `more` that was found about it; return the path of the numbers.

    The numbers hold a digest of themselves and of the file of images, which has all that they were
    computed from.
    """
    stem = evaluation.protocol.slug
    file = BytesIO()
    np.savez_compressed(
        file,
        names=np.array(evaluation.names, np.str_),
        labels=evaluation.labels,
        scores=evaluation.scores,
        readable=evaluation.readable,
        classes=np.array(evaluation.classes, np.str_),
    )
    images = file.getvalue()
    numbers = evaluation.to_dict() | more | environment()
    numbers["images"] = {
        "file": f"{stem}.npz",
        "sha256": hashlib.sha256(images).hexdigest(),
    }
    folder.mkdir(exist_ok=True)
    durable.write(folder / f"{stem}.npz", images)
    path = folder / f"{stem}.json"
    durable.write(path, sealed(numbers))
    return path


def sealed(numbers: dict[str, Any]) -> bytes:
    """Numbers as JSON with their digest."""
    digest = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()
    return json.dumps({**numbers, "digest": digest}, indent=1).encode() + b"\n"


def read(path: Path) -> Evaluation:
    """The evaluation whose numbers are at `path`, computed again from its images.

    Raises:
        BadData: a file is missing, malformed or altered, or the numbers do not follow from it.
    """
    numbers = read_numbers(path)
    try:
        images = path.with_name(numbers["images"]["file"])
        data = images.read_bytes()
        if hashlib.sha256(data).hexdigest() != numbers["images"]["sha256"]:
            raise BadData("the file differs from its digest", str(images), "evaluate again")
        found = opened(numbers, data)
        if found.wrong != numbers["wrong"] or found.total != numbers["total"]:
            raise BadData(
                f"the numbers do not follow from the images: {found.wrong} of {found.total} wrong",
                where=f"{path} says {numbers['wrong']} of {numbers['total']}",
                fix="evaluate again",
            )
    except BadData as error:
        raise BadData(error.what, error.where or str(path), error.fix) from error
    except Exception as error:  # a forged file makes its readers raise whatever they trip over
        what = f"an evaluation is malformed: {str(error) or type(error).__name__}"
        raise BadData(what, str(path), "evaluate again") from error
    return found


def opened(numbers: dict[str, Any], images: bytes) -> Evaluation:
    """An evaluation from its numbers and the bytes of its file of images; ValueError and others."""
    with np.load(BytesIO(images), allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    weights = numbers["weights"]
    found = Evaluation(
        protocol=asked_of(numbers),
        split=str(numbers["split"]),
        classes=tuple(map(str, columns["classes"])),
        names=tuple(map(str, columns["names"])),
        labels=columns["labels"],
        scores=columns["scores"],
        readable=columns["readable"],
        data=str(numbers["data"]),
        weights=(weights,) if isinstance(weights, str) else tuple(map(str, weights)),
        seconds=float(numbers["seconds"]),
        skipped=tuple(map(str, numbers["skipped"])),
        scales=tuple(map(int, numbers["scales"])),
    )
    total, kinds = len(found.names), len(found.classes)
    fitting = (
        (found.labels, np.int64, (total,)),
        (found.scores, np.float32, (total, kinds)),
        (found.readable, np.bool_, (total,)),
    )
    if any(column.dtype != kind or column.shape != shape for column, kind, shape in fitting):
        raise ValueError("its columns do not fit together")
    if not (np.isin(found.labels, range(kinds)).all() and np.isfinite(found.scores).all()):
        raise ValueError("a label or a score is out of range")
    return found


def asked_of(numbers: dict[str, Any]) -> Protocol:
    """The protocol of an evaluation's numbers.

    Raises:
        BadData: they name none.
    """
    try:
        return Protocol(**{**numbers["views"], "scales": tuple(numbers["views"]["scales"])})
    except (KeyError, TypeError, Refused) as error:
        raise BadData("an evaluation names no protocol", fix="evaluate again") from error


def read_numbers(path: Path) -> dict[str, Any]:
    """The numbers of an evaluation as they were written.

    Raises:
        BadData: the file is missing, malformed, or was altered since.
    """
    try:
        data = path.read_bytes()
        numbers: dict[str, Any] = json.loads(data)
        digest = numbers.pop("digest")
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"an evaluation cannot be read: {error}"
        raise BadData(what, str(path), "evaluate again") from error
    if sealed(numbers) != data:
        raise BadData(
            "the numbers were altered after they were written",
            where=f"{path} has the digest {str(digest)[:12]} of others",
            fix="evaluate again",
        )
    return numbers
