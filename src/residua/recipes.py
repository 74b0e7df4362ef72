"""Everything that decides a run, as plain values.

A `Recipe` is the whole of it: two runs of one recipe on one data set, machine and build end with
the same bits. Settings come from five layers, each over the one before: the defaults below, a
named recipe, a configuration file, the environment (RESIDUA_EPOCHS=20), and flags. A value of None
means that `automatic` chooses it from the data and the hardware, and says why.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from residua.errors import Refused


def setting(default: Any, about: str, group: str = "everyday") -> Any:
    """A field of Recipe with the sentence and the group that `--help` prints."""
    return field(default=default, metadata={"help": about, "group": group})


@dataclass(frozen=True)
class Recipe:
    """The settings of one run; fractions are of 1, durations in seconds unless said otherwise."""

    network: str | None = setting(None, "network to train, see `residua list networks`")
    init: str | None = setting(None, "weights to start from; a new head where classes differ")
    epochs: float | None = setting(None, "passes over the training images")
    steps: int | None = setting(None, "optimizer steps, instead of epochs", "schedule")
    time: float | None = setting(None, "plan the schedule to end after this long, as in 20m or 1h")
    batch: int | None = setting(None, "images in a step")
    learning_rate: float | None = setting(None, "peak learning rate")
    size: int | None = setting(None, "height and width of the network's input, in pixels")
    fit: Literal["crop", "pad", "squash"] | None = setting(
        None, "how a picture of another shape becomes a square"
    )
    seed: int = setting(0, "of the weights, the order, the augmentation and the splits")
    device: str | None = setting(None, "cpu, cuda or cuda:1")
    precision: Literal["fp32", "bf16", "fp16"] | None = setting(
        None, "arithmetic of the forward and backward pass"
    )
    workers: int | None = setting(None, "processes that decode images ahead")
    checkpoint_every: int | None = setting(None, "steps between checkpoints (default: an epoch)")

    threads: int | None = setting(None, "processor threads of a process", "hardware")
    processes: int | None = setting(
        None, "processes that share each step on a processor, one a core", "hardware"
    )
    fused: bool | None = setting(
        None, "norm, addition and ReLU in one pass over memory", "hardware"
    )
    compile: bool | None = setting(None, "compile the step for a GPU", "hardware")
    memory: int | None = setting(
        None, "bytes that a step may take, as in 2G (default: what is free)", "hardware"
    )
    in_memory: bool | None = setting(None, "decode all images once and keep them", "hardware")
    cache: bool = setting(False, "keep decoded pictures in a memory-mapped file", "hardware")

    validation: float | None = setting(None, "share of the training images that selects", "data")
    normalize: Literal["channel", "pixel"] = setting(
        "channel", "subtract the mean of each channel, or of each pixel (the papers)", "data"
    )
    crop: Literal["none", "pad", "shift", "area", "scale"] | None = setting(
        None,
        "training view: pad and crop (2016a, section 4.2), shift by up to 2 pixels with mirrored "
        "borders, a random area (Szegedy et al. 2014), or a random scale (2016a, section 3.4)",
        "augmentation",
    )
    flip: bool | None = setting(None, "mirror half of the training images", "augmentation")
    alternate: bool = setting(
        False, "mirror each image in every second epoch, instead of at random", "augmentation"
    )
    color: Literal["none", "jitter", "pca"] = setting(
        "none", "vary brightness, contrast and saturation, or AlexNet's PCA", "augmentation"
    )
    grow: tuple[float, ...] = setting(
        (),
        "let training images grow: their sizes over equal parts of the run, as shares of the size",
        "augmentation",
    )
    mixup: float = setting(0.0, "alpha of mixup (Zhang et al. 2017); 0 is off", "augmentation")
    label_smoothing: float = setting(0.0, "probability spread over all classes", "augmentation")

    loss: Literal["cross-entropy", "binary"] = setting(
        "cross-entropy",
        "binary asks of each class alone whether it is there (Wightman et al. 2021, section 4)",
        "optimization",
    )
    optimizer: Literal["sgd", "caffe-sgd", "adamw", "muon"] = setting(
        "sgd",
        "caffe-sgd keeps the rate inside the velocity, as the papers' code; muon makes the steps "
        "of convolutions orthogonal (Jordan et al. 2024)",
        "optimization",
    )
    momentum: float = setting(0.9, "of SGD, or of Muon", "optimization")
    nesterov: bool = setting(False, "Nesterov's form of momentum, in torch's SGD", "optimization")
    weight_decay: float = setting(1e-4, "L2 penalty (AdamW: decoupled)", "optimization")
    decay_norms: bool = setting(True, "decay norms and biases too", "optimization")
    clip: float = setting(0.0, "largest gradient norm; 0 is off", "optimization")
    whiten: Literal["off", "start", "frozen"] | None = setting(
        None,
        "first layer that sees uncorrelated directions of the training images, only at the start "
        "or for good",
        "optimization",
    )
    zero_init: bool = setting(False, "start each residual block as the identity", "optimization")
    ema: float = setting(0.0, "decay of the averaged weights; 0 is off", "optimization")
    precise_norms: int = setting(
        0,
        "training images over which batch norm recomputes its statistics at the end; 0 is off",
        "optimization",
    )

    schedule: Literal["step", "cosine", "one-cycle", "constant"] = setting(
        "one-cycle", "learning rate over the run", "schedule"
    )
    milestones: tuple[float, ...] = setting(
        (0.5, 0.75), "shares of the run after which `step` divides the rate by 10", "schedule"
    )
    warmup: float = setting(0.0, "share of the run in which the rate rises from zero", "schedule")
    warmup_error: float | None = setting(
        None,
        "a tenth of the rate until the training error is below this; 0 is off",
        "schedule",
    )
    select: Literal["best", "last"] = setting(
        "best", "keep the weights of the lowest validation error, or of the last step", "schedule"
    )

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise Refused(
                    f"{name} must be between {low:g} and {high:g}",
                    where=f"received {name} = {value!r}",
                )
        if not all(0 <= at <= 1 for at in self.milestones):
            raise Refused(
                "milestones must be shares of the run, between 0 and 1",
                where=f"received milestones = {self.milestones}",
            )
        if not all(0 < share <= 1 for share in self.grow):
            raise Refused(
                "images grow by shares of their size, above 0 and up to 1",
                where=f"received grow = {self.grow}",
            )
        if sum(value is not None for value in (self.epochs, self.steps, self.time)) > 1:
            raise Refused(
                "epochs, steps and time exclude each other",
                where=f"received epochs={self.epochs}, steps={self.steps}, time={self.time}",
                fix="give only one of them",
            )


RANGES: dict[str, tuple[float, float]] = {
    "epochs": (1e-6, 1e6),
    "steps": (1, 1e9),
    "time": (1, 1e8),
    "batch": (1, 1e6),
    "learning_rate": (0, 1e6),
    "size": (1, 4096),
    "seed": (0, 2**62),
    "workers": (0, 1024),
    "checkpoint_every": (1, 1e9),
    "threads": (1, 1024),
    "processes": (1, 1024),
    "memory": (1e6, 1e15),
    "validation": (0, 0.9),
    "mixup": (0, 10),
    "label_smoothing": (0, 0.99),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 10),
    "clip": (0, 1e6),
    "ema": (0, 0.99999),
    "precise_norms": (0, 1e9),
    "warmup": (0, 0.99),
    "warmup_error": (0, 1),
}

QUICK = Recipe(
    schedule="one-cycle",
    warmup=0.2,
    nesterov=True,
    weight_decay=5e-4,
    decay_norms=False,
    label_smoothing=0.05,
)

# What each part is worth: benchmarks/ablation.py.
FAST = replace(
    QUICK,
    optimizer="muon",
    momentum=0.6,
    nesterov=False,
    warmup=0.15,
    label_smoothing=0.1,
    alternate=True,
    grow=(0.75, 1.0),
    select="last",
)

RECIPES: dict[str, tuple[str, Recipe]] = {
    "quick": ("one-cycle SGD: the most accuracy for little time", QUICK),
    "fast": (
        "Muon, and images that grow: more accuracy than quick in the same time",
        FAST,
    ),
    "paper-cifar": (
        "He et al. 2016a, section 4.2: 64k iterations of 128 images, rate 0.1, divided at 32k, 48k",
        Recipe(
            steps=64_000,
            batch=128,
            learning_rate=0.1,
            optimizer="caffe-sgd",
            schedule="step",
            crop="pad",
            flip=True,
            normalize="pixel",
            precision="fp32",
            validation=0.1,
            select="last",
        ),
    ),
    "paper-imagenet": (
        "He et al. 2016a, section 3.4: 60e4 iterations of 256 images, scale jitter, PCA colors",
        Recipe(
            steps=600_000,
            batch=256,
            learning_rate=0.1,
            optimizer="caffe-sgd",
            schedule="step",
            milestones=(0.25, 0.5, 0.75),
            size=224,
            fit="crop",
            crop="scale",
            flip=True,
            color="pca",
            precision="fp32",
            precise_norms=50_000,
            select="last",
        ),
    ),
    # Slower stages below the head, a lower rate, frozen norms, a head of zeros or one that learns
    # first: each was measured, and none of them helped (results/finetune.json).
    "finetune": ("from given weights: as quick, with a new head where classes differ", QUICK),
}
