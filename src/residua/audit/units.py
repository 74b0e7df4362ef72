"""One form for what can be said in several: networks by their options, lengths in steps."""

import math
import re
from collections.abc import Mapping

from residua import networks
from residua.audit.terms import Reading, Said, Unread, WarmUp, shown
from residua.errors import Refused


def settle(reading: Reading, images: int, own: bool) -> None:
    """Say every length in optimizer steps, and one thing for what has two names.

    Args:
        reading: changed in place.
        images: how many the paper trains on.
        own: whether it is a recipe of ours, which holds out of the images that there are.
    """
    said = reading.said
    if "spare_norms" in said:
        key = said["spare_norms"].key
        said.setdefault("decay_norms", Said(not said["spare_norms"].value, key))
    if "validation" in said and said["validation"].value >= 1:
        share = said["validation"].value / images
        said["validation"] = Said(share, said["validation"].key)
    total = images
    if "train_images" in said:
        total = said["train_images"].value
        if "validation" not in said and 2 * total >= images:
            held = max(0.0, 1 - total / images)
            said["validation"] = Said(held, said["train_images"].key)
        elif own or total == images:
            total *= 1 - said.get("validation", Said(0, "")).value
    elif "validation" in said:
        total *= 1 - said["validation"].value
    each = math.ceil(total / said["batch"].value) if "batch" in said else None
    if "steps" not in said and "epochs" in said and each:
        said["steps"] = Said(said["epochs"].value * each, said["epochs"].key)
    falls(reading, each)
    warm_up(reading, each)


# Which network.


SMALL = 64  # pixels up to which a network is one for small images
OPTIONS = frozenset(
    "shortcut branch join attention downsampling norm survival blocks stride width stem".split()
)


def name_network(reading: Reading, own: bool) -> None:
    """Replace the words for a network by its family, depth and options."""
    said = reading.said
    raw = said.get("network")
    if raw is None:
        return
    own = own or "-cifar" in raw.value
    found = parsed(raw.value, said, own)
    if found is None:
        reading.unread.append(Unread(raw.key, raw.value, "no network of this name is known here"))
        return
    family, depth, options = found
    said["family"] = Said(family, raw.key)
    said["depth"] = Said(depth, raw.key)
    for option, value in options.items():
        silent = option in ("shortcut", "stride") and not own  # in the names of others
        if option in OPTIONS and not silent:
            said.setdefault(option, Said(value, raw.key))


def parsed(
    raw: str, said: Mapping[str, Said], own: bool
) -> tuple[str, int, Mapping[str, str]] | None:
    """A network's family, depth and options by its name, None where no such is known."""
    try:
        family, depth, options = networks.parse(raw if own else ours(raw, said))
    except Refused:
        return None
    kind = re.split(r"\d|-(?!resnet)", family_name(raw, own), maxsplit=1)[0].strip("-")
    return f"{kind} for {'small images' if family.size <= SMALL else 'photographs'}", depth, options


def ours(raw: str, said: Mapping[str, Said]) -> str:
    """The name here of a network of others: ResNet_v1 of depth 50 -> resnet50-v1."""
    text = family_name(raw, False)
    found = re.match(r"([a-z-]*[a-z])-?(\d*)(.*)", text)
    depth = found[2] if found else ""
    if not depth and "depth" in said:
        depth = str(said["depth"].value)
    if found is None or not depth:
        return text
    small = (
        is_small(int(depth)) and "cifar" not in text and found[1] in ("resnet", "plain", "preact")
    )
    return f"{found[1]}{depth}{'-cifar' * small}{found[3]}"


def family_name(raw: str, own: bool) -> str:
    """A name in our spelling: ResNet-20, pre_resnet."""
    text = re.sub(r"[_\s]+", "-", raw.strip() if own else raw.strip().lower())
    text = re.sub(r"^(cifar-?(10)?-?)", "", text)
    return re.sub(r"^pre-?(act-?)?(resnet)?-?(?=\d|-|$)", "preact", text)


def is_small(depth: int) -> bool:
    """Whether residual networks of this depth are those for small images: 6n+2, or 9n+2."""
    return depth not in (18, 34, 50, 101, 152) and 0 in ((depth - 2) % 6, (depth - 2) % 9)


# Epochs, shares and periods in optimizer steps.


def falls(reading: Reading, each: int | None) -> None:
    """Milestones in steps; those that cannot be counted are unknown."""
    said = reading.said
    epochs = said["epochs"].value if "epochs" in said else math.inf
    steps = said["steps"].value if "steps" in said else None
    if "schedule" in said and said["schedule"].value not in ("step", "plateau"):
        said.pop("milestones", None)
        return
    if "period" in said and "milestones" not in said:
        period, key = said["period"]
        end = epochs if period < epochs < math.inf else steps
        if period > 0 and end:
            count = math.ceil(end / period) - 1
            said["milestones"] = Said(tuple(period * n for n in range(1, count + 1)), key)
    if "milestones" not in said:
        return
    at, key = said["milestones"]
    scale: float | None = 1.0
    if all(share <= 1 for share in at):
        scale = steps
    elif max(at) <= epochs < math.inf or (each and epochs == math.inf and max(at) < 1000):
        scale = each
    if scale is None:
        del said["milestones"]
        reading.unread.append(Unread(key, shown(at), "cannot be counted in steps"))
        return
    said["milestones"] = Said(tuple(point * scale for point in at), key)


def warm_up(reading: Reading, each: int | None) -> None:
    """One warm-up: the step at which it ends, infinite if it never does, or the training error."""
    said, end = reading.said, None
    keys = [key for key in ("warmup_end", "warmup_steps", "warmup", "warmup_rate", "warmup_error")
            if key in said]  # fmt: skip
    if not keys:
        return
    error = said["warmup_error"].value if "warmup_error" in said else 0.0
    total = said["steps"].value if "steps" in said else None
    text = said["warmup_end"].value.lower() if "warmup_end" in said else ""
    if "never" in text:
        end = math.inf
    elif re.search(r"error", text) and (found := re.search(r"[\d.]+", text)):
        error = float(found[0]) / (100 if float(found[0]) > 1 else 1)
    elif "warmup_steps" in said:
        end = said["warmup_steps"].value
    elif "warmup" in said:
        end = ended(said["warmup"].value, total, each)
    elif "warmup_rate" in said and not said["warmup_rate"].value:
        end = 0.0
    if end is None and error == 0 and "warmup_error" not in said:
        key = said[keys[0]].key
        reading.unread.append(Unread(key, shown(said[keys[0]].value), "when it ends is not said"))
        return
    never = end is not None and total is not None and total <= end
    value = WarmUp(math.inf if never else end or 0.0, error)
    said["warm-up"] = Said(value, said[keys[0]].key)


def ended(value: float, total: float | None, each: int | None) -> float | None:
    """The step at which a warm-up of so many epochs, or of a share of the run, ends."""
    if value in (0, math.inf):
        return value
    scale = total if value < 1 else each
    return None if scale is None else value * scale
