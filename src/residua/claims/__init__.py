"""What the papers on deep networks and their retellings claim, each claim as a check that runs.

Each names the function that looks at the evidence, and what evidence it needs: some count or
compute it in seconds, others read studies or trainings that were made before, or that a budget
allows (ledger.py). Nothing here loads torch.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from residua.errors import unknown

if TYPE_CHECKING:
    from residua.claims.evidence import Evidence

CONFIRMED, REFUTED, NOT_RUN = "confirmed", "refuted", "not run"
STATUSES = (CONFIRMED, REFUTED, NOT_RUN)


class Finding(NamedTuple):
    """What became of a claim. Where evidence is not enough, it counts as not run."""

    status: str  # one of STATUSES
    evidence: str  # with its numbers
    source: str = ""  # the folder that they come from; empty where they were computed just now


class Claim(NamedTuple):
    """A claim as it is retold."""

    words: str
    check: str  # module of this folder:function
    needs: tuple[str, ...] = ()  # studies, or sets of trainings (trainings.py)


CLAIMS: dict[str, Claim] = {
    "C1": Claim(
        "A deep plain network's gradient is a product of many factors, and vanishes when they are "
        "small.",
        "initial:vanishes",
    ),
    "C2": Claim("It explodes when they are large.", "initial:explodes"),
    "C3": Claim(
        "Batch-normalized plain networks degrade because gradients vanish.",
        "initial:vanishes_with_norms",
    ),
    "C4": Claim(
        "A 56-layer plain network has a higher training and test error than one of 20 layers.",
        "depth:degrades",
        ("degradation",),
    ),
    "C5": Claim(
        "It is not overfitting: the training error rises, too.",
        "depth:fits_worse",
        ("degradation",),
    ),
    "C6": Claim(
        "A 34-layer residual network beats its 18-layer twin; a 34-layer plain one loses to its "
        "own.",
        "depth:twins",
        ("twins",),
    ),
    "C7": Claim(
        "A residual network has no more parameters than the plain one (option A).",
        "counts:parameters",
    ),
    "C8": Claim(
        "Shallow plain and residual networks end alike, but residual ones converge faster.",
        "depth:converges_faster",
        ("degradation",),
    ),
    "C9": Claim(
        "A shallow network with layers that do nothing computes the same function: a deeper one "
        "can be as good.",
        "counts:does_nothing",
    ),
    "C10": Claim(
        "SGD does not find or keep that solution in a plain network.",
        "depth:not_found",
        ("construction",),
    ),
    "C11": Claim(
        "Learning F(x) = H(x) - x is easier: the responses of residual layers are small.",
        "trained:small_responses",
        ("responses",),
    ),
    "C12": Claim(
        "Where gradients through the weights are gone, the identity still carries them back.",
        "initial:identity_carries",
    ),
    "C13": Claim(
        "Each block feeds the layers two or three hops away directly.", "counts:feeds_directly"
    ),
    "C14": Claim("Layers that hurt are skipped, by regularization.", "trained:skipped", ("decay",)),
    "C15": Claim(
        "Networks of 100 to 1000 layers can be trained.", "depth:trainable", ("degradation",)
    ),
    "C16": Claim(
        "ResNet-1202 fits the training images and tests worse than ResNet-110: overfitting.",
        "depth:overfits",
        ("deepest",),
    ),
    "C17": Claim(
        "Bottlenecks cut the cost without losing much.", "counts:bottlenecks", ("bottlenecks",)
    ),
    "C18": Claim("1x1 convolutions reduce connections, as in GoogLeNet.", "counts:reductions"),
    "C19": Claim("Highway networks contain residual networks.", "counts:contained"),
    "C20": Claim(
        "Highway networks do worse than residual ones, perhaps for want of data.",
        "depth:highways",
        ("data-size",),
    ),
    "C21": Claim(
        "Ten crops, several scales and ensembles each lower the error.",
        "trained:protocols",
        ("protocols",),
    ),
    "C22": Claim(
        "Batch norm after each convolution is what lets them start at a high rate.",
        "trained:high_rates",
        ("norms",),
    ),
}


def named(names: tuple[str, ...]) -> tuple[str, ...]:
    """The claims asked for, all where none are named.

    Raises:
        Refused: there is no such claim.
    """
    for name in names:
        if name.upper() not in CLAIMS:
            raise unknown("claim", name, CLAIMS)
    chosen = {name.upper() for name in names} or set(CLAIMS)
    return tuple(name for name in CLAIMS if name in chosen)


def check_of(claim: Claim) -> "Callable[[Evidence], Finding]":
    """The function that looks at the evidence."""
    module, _, function = claim.check.partition(":")
    found: Callable[[Evidence], Finding] = getattr(
        import_module(f"residua.claims.{module}"), function
    )
    return found
