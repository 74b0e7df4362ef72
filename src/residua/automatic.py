"""What a person leaves open, chosen from the data and the hardware, with the reason for each."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from residua.recipes import Recipe


class Facts(NamedTuple):
    """What `automatic` looks at."""

    data: str  # name of the data set
    images: int  # in the training split
    size: int  # what the images suggest, in pixels
    fit: str
    why: str  # they suggest that
    cores: int
    cuda: bool
    bf16: bool  # the hardware multiplies bfloat16 faster than float32
    unfused: str  # why there is no fused operator; "" where there is one
    memory: int  # bytes of main memory that are free
    depth: int  # of the network that was asked for; 0 where it is open
    steady: bool  # that network has norms or scales, or is open
    patches: bool  # its first layer is made for whitened patches


SMALL = 64  # pixels up to which the networks for small images are the better choice


def automatic(recipe: Recipe, facts: Facts) -> tuple[Recipe, dict[str, str]]:
    """Fill in every setting that is None; return the recipe and the reasons worth telling."""
    size = recipe.size or facts.size
    small = size <= SMALL
    look = (small_images if small else photographs)(recipe, facts, size)
    choices: dict[str, tuple[Any, str]] = {
        "size": (facts.size, facts.why),
        "fit": (facts.fit, facts.why),
        "device": ("cuda", "a GPU is present") if facts.cuda else ("cpu", "no GPU is present"),
        "precision": precision(facts),
        "fused": (False, facts.unfused) if facts.unfused else (True, "one pass over memory"),
        "compile": (facts.cuda, "few large kernels" if facts.cuda else "a processor gains little"),
        "memory": (max(10**6, int(ROOM * facts.memory)), "four fifths of what is free"),
        "validation": (round(min(0.1, max(0.02, 2500 / facts.images)), 4), "enough to select by"),
        "learning_rate": peak_rate(recipe, recipe.batch or look["batch"][0], facts.steady),
        "whiten": ("frozen", "the first layer is made for it")
        if facts.patches
        else ("off", "the first layer learns"),
        "warmup_error": (0.8, "the papers', from 110 layers on (2016a, section 4.2)")
        if recipe.schedule == "step" and facts.depth >= 110
        else (0.0, ""),
        **look,
    }
    if recipe.epochs is recipe.steps is recipe.time is None:
        choices["epochs"] = passes(facts.images, recipe.batch or look["batch"][0])
    chosen = {name: choice for name, choice in choices.items() if getattr(recipe, name) is None}
    recipe = replace(recipe, **{name: value for name, (value, _) in chosen.items()})
    return recipe, {name: reason for name, (_, reason) in chosen.items() if reason}


def precision(facts: Facts) -> tuple[str, str]:
    """The fastest arithmetic that loses nothing."""
    if facts.bf16:
        return "bf16", "fast here"
    return ("fp16", "this GPU has no bf16") if facts.cuda else ("fp32", "bf16 is not fast here")


def small_images(recipe: Recipe, facts: Facts, size: int) -> dict[str, tuple[Any, str]]:
    """Choices for images that a network can take whole."""
    digits = facts.data == "digits"
    fits = facts.images * size**2 * 3 < facts.memory / 4
    batch = batch_size(facts.images, 512 if recipe.optimizer == "muon" else 128)
    whole = fits if recipe.in_memory is None else recipe.in_memory
    return {
        "network": ("resnet20-cifar", f"for images of {size} pixels"),
        "batch": batch,
        "processes": parts(recipe.batch or batch[0], facts, size)
        if whole
        else (1, "images on disk"),
        "crop": (("shift" if recipe.alternate else "pad"), "small images")
        if size >= 16
        else ("none", "every pixel counts"),
        "flip": (False, "digits are not symmetric") if digits else (True, "doubles the images"),
        "workers": decoders(facts),
        "threads": (facts.cores, f"{facts.cores} cores")
        if size >= 16
        else (1, "a step is too short to be shared out"),
        "in_memory": (fits, "the images fit" if fits else "the images do not fit"),
    }


def photographs(recipe: Recipe, facts: Facts, size: int) -> dict[str, tuple[Any, str]]:
    """Choices for larger images."""
    # Muon's products take as long for a small batch as for a large one.
    usual = 128 if facts.cuda or recipe.optimizer == "muon" else 32
    return {
        "network": ("resnet50" if facts.cuda else "resnet18", f"for images of {size} pixels"),
        "batch": batch_size(facts.images, usual),
        "processes": (1, "parts of a batch would be too few for batch norm"),
        "crop": ("area", "photographs"),
        "flip": (True, "doubles the images"),
        "workers": decoders(facts),
        "threads": (facts.cores, f"{facts.cores} cores"),
        "in_memory": (False, "decoded anew for each view"),
    }


ROOM = 0.8  # share of the free memory that a training takes unasked
PART = 32  # images that batch norm needs at least for its statistics


def parts(batch: int, facts: Facts, size: int) -> tuple[int, str]:
    """A process for each core, so far as the batch divides into parts large enough."""
    most = 1 if facts.cuda or size < 16 else facts.cores
    count = max(n for n in range(1, most + 1) if n == 1 or batch % n == 0 and batch // n >= PART)
    several = f"one a core, {batch // count} images in each"
    return count, several if count > 1 else "steps too small to be shared out"


def decoders(facts: Facts) -> tuple[int, str]:
    """Worker processes: only a GPU computes faster than two of them decode."""
    if facts.cuda:
        return facts.cores, f"{facts.cores} cores"
    return min(2, facts.cores), "enough to keep ahead of a processor"


def peak_rate(recipe: Recipe, batch: int, steady: bool) -> tuple[float, str]:
    """In proportion to the batch (Goyal et al. 2017, section 2.1), a tenth of it without norms.

    Muon's in proportion to its root.

    Without them AlexNet, VGG, NIN and GoogLeNet stop learning at the rates that norms allow; their
    papers' rate is 0.01.
    """
    reason = f"for {batch} images in a step" + ", without norms" * (not steady)
    if recipe.optimizer == "muon":  # a step is as long whatever the gradient: only noise shrinks
        base, share = 0.1 if steady else 0.01, math.sqrt(batch / 512)
    else:
        base, share = 2e-3 if recipe.optimizer == "adamw" else 0.2 if steady else 0.02, batch / 128
    return float(f"{base * share:.3g}"), reason


def batch_size(images: int, usual: int) -> tuple[int, str]:
    """A power of two that leaves an epoch 20 steps or more."""
    if images >= 20 * usual:
        return usual, "usual for images of this size"
    return max(4, 2 ** int(math.log2(images / 20))) if images > 80 else 4, "few images"


def passes(images: int, batch: int) -> tuple[int, str]:
    """Epochs for 30 passes over many images, or 800 steps over few."""
    if images >= 5_000:
        return 30, "one cycle"
    return min(200, max(30, round(800 * batch / images))), "few images: many passes"
