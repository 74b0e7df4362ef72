"""The flags of `residua evaluate`, and which of them go together."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from residua import engines
from residua.errors import Refused

if TYPE_CHECKING:
    from residua.protocols import Protocol


ENSEMBLE = Group("Several networks", sort_key=1)
FITTED = Group("Fitted on validation images", sort_key=2)
HARDWARE = Group("Hardware", sort_key=3)


@dataclass(frozen=True)
class Options:
    """How to evaluate."""

    protocol: Annotated[
        str, Parameter(help="views of each image, see `residua list protocols` [single]")
    ] = "single"
    scales: Annotated[
        str | None,
        Parameter(metavar="224,256", help="shorter sides in pixels, of multi-scale [the usual]"),
    ] = None
    average: Annotated[
        str, Parameter(metavar="softmax|logits", help="what is averaged over views [softmax]")
    ] = "softmax"
    mirror: Annotated[bool, Parameter(help="show mirror images too, in multi-scale [yes]")] = True
    members: Annotated[
        bool,
        Parameter(
            group=ENSEMBLE, negative="", help="of an ensemble, give the error of each network too"
        ),
    ] = False
    weigh: Annotated[
        bool,
        Parameter(
            group=ENSEMBLE,
            negative="",
            help="fit each network's share on the runs' validation images",
        ),
    ] = False
    compare: Annotated[
        bool,
        Parameter(
            group=ENSEMBLE, negative="", help="ask each network alone, and tell which is better"
        ),
    ] = False
    answers_right: Annotated[
        float | None,
        Parameter(
            metavar="0.99",
            group=FITTED,
            help="find the score from which so many answers are right, on the validation images",
        ),
    ] = None
    calibrate: Annotated[
        bool,
        Parameter(
            group=FITTED, negative="", help="fit the temperature on the run's validation images"
        ),
    ] = False
    skip_unreadable: Annotated[
        bool,
        Parameter(negative="", help="leave out images that cannot be read, else they are wrong"),
    ] = False
    out: Annotated[
        str | None, Parameter(metavar="DIR", help="write every number and every score here")
    ] = None
    split: Annotated[
        str | None,
        Parameter(help="test, validation, train or all [test; all of data without a test split]"),
    ] = None
    min_top1: Annotated[
        float | None,
        Parameter(metavar="0.9", help="exit with 7 if the share of right answers is below this"),
    ] = None
    batch: Annotated[
        int | None,
        Parameter(group=HARDWARE, name=("--batch", "--batch-size", "-b"), help="images at a time"),
    ] = None
    workers: Annotated[
        int, Parameter(group=HARDWARE, help="processes that decode images ahead [0]")
    ] = 0
    device: Annotated[str | None, Parameter(group=HARDWARE, help="cpu, cuda or cuda:1")] = None
    engine: Annotated[
        str,
        Parameter(group=HARDWARE, help="what runs the network: see `residua list engines` [torch]"),
    ] = "torch"
    precision: Annotated[
        str | None,
        Parameter(group=HARDWARE, metavar="fp32|bf16|int8", help="of the engine [fp32]"),
    ] = None


USUAL = Options()


def check(options: Options, networks: int) -> None:
    """Refuse what cannot be, before anything is read."""
    engines.check(choice_of(options))
    for flag, share in (
        ("--min-top1", options.min_top1),
        ("--answers-right", options.answers_right),
    ):
        if share is not None and not 0 <= share <= 1:
            raise Refused(f"{flag} is a share from 0 to 1", f"received {share:g}", "as in 0.9")
    if options.batch is not None and options.batch < 1 or options.workers < 0:
        raise Refused(
            "--batch must be at least 1 and --workers at least 0",
            f"received {options.batch} and {options.workers}",
        )
    for flag, given, most in (
        ("--answers-right", options.answers_right is not None, 1),
        ("--calibrate", options.calibrate, 1),
        ("--min-top1", options.compare and options.min_top1 is not None, 0),
    ):
        if given and networks > most:
            raise Refused(f"{flag} is about one network alone", f"received {networks} networks")
    for flag, given in (("--compare", options.compare), ("--weigh", options.weigh)):
        if given and networks < 2:
            raise Refused(f"{flag} takes two or more networks", f"received {networks}")
    if options.compare and options.weigh:
        raise Refused("--compare asks each network alone, and --weigh all together")


def choice_of(options: Options) -> engines.Choice:
    """The engine that is asked for."""
    return engines.Choice(options.engine, options.precision or "")


def protocol_of(options: Options) -> "Protocol":
    """The protocol that is asked for.

    Raises:
        Refused: there is none such.
    """
    from residua.protocols import Protocol

    try:
        scales = tuple(int(scale) for scale in (options.scales or "").split(",") if scale.strip())
    except ValueError as error:
        raise Refused(
            "scales are whole numbers of pixels", f"received --scales {options.scales}", "224,256"
        ) from error
    return Protocol(options.protocol, options.average, scales, options.mirror)
