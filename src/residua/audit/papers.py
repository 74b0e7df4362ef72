"""The two trainings of He et al. 2016a (arXiv:1512.03385), a rule for each setting.

Sizes of effects are those that papers print or that were counted; where nobody measured one, the
direction at most is told.
"""

from typing import NamedTuple

from residua.audit.rules import (
    CHANGES,
    COSMETIC,
    FAMILIES,
    HIGHER,
    JOINS,
    LOWER,
    MAY,
    OPTIMIZERS,
    OTHER,
    SHORTCUTS,
    UNKNOWN,
    Effect,
    Facts,
    Rule,
    among,
    batch,
    bottleneck_stride,
    by_value,
    drops,
    held_out,
    length,
    plateaus,
    rate,
    same,
    schedule,
    selection,
    warming,
)

SMALL, LARGE, TABLE = "section 4.2", "section 3.4", "table 1"


class Paper(NamedTuple):
    """A training that a recipe of ours is named after."""

    title: str
    images: int  # to train on
    rules: tuple[Rule, ...]


def cropped(value: str, facts: Facts) -> Effect | None:
    """Padded by 4 pixels, a random window of 32."""
    if value == "pad":
        return None
    words = {"none": "no random crops: fewer views, and more overfitting"}
    return Effect(words.get(value, f"training views by {value}"), HIGHER, CHANGES)


BOTH = (
    Rule("momentum", "0.9", LARGE, same(0.9, "another momentum: the step grows as 1/(1 - m)")),
    Rule("dampening", "none", LARGE, same(0.0, "gradients enter the velocity damped"), False),
    Rule("nesterov", "no", LARGE, same(
        False, "Nesterov's momentum: others report 5.8 to 6.0 % for ResNet-110 on CIFAR-10 with it "
        "(fb.resnet.torch) against 6.61 %, this and their other departures together", LOWER, MAY)),
    Rule("weight_decay", "0.0001", LARGE, same(
        1e-4, "another weight decay; more of it lowers the error of many trainings")),
    Rule("decay_norms", "yes, as the authors' code does to every parameter", LARGE, same(
        True, "norms and biases do not decay", UNKNOWN, MAY)),
    Rule("loss", "cross-entropy", LARGE, same("cross-entropy", "another loss"), False),
    Rule("factor", "0.1", LARGE, same(0.1, "the rate falls by another factor"), False),
    Rule("flip", "yes", LARGE, same(
        True, "no mirrored views: fewer views, and more overfitting", HIGHER)),
    Rule("alternate", "no, at random", LARGE, same(
        False, "every second epoch mirrored: each image is seen both ways equally often", LOWER,
        MAY), False),
    Rule("mixup", "none", LARGE, same(0.0, "mixup: of 2017", LOWER), False),
    Rule("cutout", "none", LARGE, same(0.0, "parts of images erased: of 2017", LOWER), False),
    Rule("label_smoothing", "none", LARGE, same(0.0, "labels smoothed", LOWER), False),
    Rule("dropout", "none", LARGE, same(0.0, "dropout, which the paper leaves out"), False),
    Rule("clip", "none", LARGE, same(0.0, "gradients clipped", UNKNOWN, MAY), False),
    Rule("ema", "none", LARGE, same(0.0, "averaged weights", LOWER), False),
    Rule("grow", "no", LARGE, same((), "training images that grow", UNKNOWN, CHANGES), False),
    Rule("whiten", "no", LARGE, same("off", "a first layer that whitens", LOWER), False),
    Rule("precision", "fp32", LARGE, same(
        "fp32", "fewer bits: within the spread of seeds where the loss is scaled", UNKNOWN,
        COSMETIC)),
    Rule("weights", "drawn as He et al. 2015b", LARGE, by_value(
        {"weights": Effect("starts from trained weights", LOWER, CHANGES)},
        Effect("drawn in another way", UNKNOWN, MAY), "he"), False),
    Rule("zero_init", "no", LARGE, same(
        False, "blocks start as the identity (Goyal et al. 2017)", LOWER, MAY), False),
    Rule("optimizer", "SGD, the rate inside the velocity (the authors' code)", LARGE,
         by_value(OPTIMIZERS, Effect("another optimizer", UNKNOWN, CHANGES), "caffe-sgd")),
    Rule("select", "the last weights", SMALL, selection),
    Rule("join", "residual", TABLE, by_value(JOINS, OTHER, "residual"), False),
    Rule("attention", "none", TABLE, same("off", "squeeze-and-excitation", LOWER), False),
    Rule("downsampling", "strides", TABLE, same("stride", "blurred first", LOWER, MAY), False),
    Rule("norm", "batch normalization", LARGE, same("batch", "another norm, or none"), False),
    Rule("blocks", "as many as the depth says", TABLE, same(
        "depth", "other numbers of blocks in the stages", UNKNOWN, CHANGES), False),
    Rule("survival", "1", TABLE, same("1", "stochastic depth (Huang et al. 2016)", LOWER), False),
)  # fmt: skip

CIFAR = Paper("He et al. 2016a, CIFAR-10", 50_000, (
    Rule("data", "CIFAR-10", SMALL, among(
        ("cifar10", "cifar", "cifar10binary", "cifar10bin"),
        "other images: the paper's errors are no reference", UNKNOWN, CHANGES)),
    Rule("size", "32 pixels", SMALL, same(32.0, "images of another size", UNKNOWN), False),
    Rule("validation", "45,000 images to train on and 5,000 to choose the schedule by", SMALL,
         held_out, note="the paper does not say whether its final networks saw 45,000 or 50,000"),
    Rule("batch", "128", SMALL, batch(128)),
    Rule("learning_rate", "0.1", SMALL, rate(128)),
    Rule("schedule", "steps", SMALL, schedule("step")),
    Rule("steps", "64,000", SMALL, length(64_000)),
    Rule("milestones", "32,000 and 48,000 steps", SMALL, drops((32_000, 48_000))),
    Rule("warm-up", "none; from 110 layers on a rate of 0.01 until the training error is below "
         "80 %, about 400 steps", SMALL, warming),
    Rule("crop", "padded by 4 pixels, a random window of 32", SMALL, cropped),
    Rule("color", "none", SMALL, same("none", "varied colors", UNKNOWN, MAY), False),
    Rule("normalize", "the mean of each pixel subtracted, no division", SMALL, by_value(
        {"channel": Effect(
            "mean and deviation of each channel: batch norm after the first layer takes up the "
            "scale; what weight decay and rate mean to that layer, and the padding, differ",
            UNKNOWN, COSMETIC)}, Effect("nothing subtracted", UNKNOWN, MAY), "pixel")),
    Rule("precise_norms", "not said", SMALL, same(
        0.0, "statistics averaged anew, as the authors did on ImageNet", UNKNOWN, COSMETIC), False),
    Rule("family", "plain or residual, 16 to 64 channels", SMALL, by_value(
        FAMILIES, OTHER, "plain for small images", "resnet for small images")),
    Rule("depth", "20, 32, 44, 56, 110 or 1202 layers", "table 6", among(
        (20, 32, 44, 56, 110, 1202), "the paper has no error for this depth", UNKNOWN, COSMETIC)),
    Rule("shortcut", "A, no parameters", SMALL, by_value(SHORTCUTS, OTHER, "A")),
    Rule("branch", "two 3x3", SMALL, same("basic", "bottlenecks (2016b)", LOWER), False),
    Rule("protocol", "a single view", SMALL, same(
        "single", "several views of a test image", LOWER), False),
    *BOTH,
))  # fmt: skip

VIEWS = {
    "single": Effect(
        "one view of a test image: tables 2 and 3 show ten (ResNet-50 24.7 against 22.9 %)",
        HIGHER, CHANGES),
    "multi-scale": Effect(
        "dense, at several scales, as in table 4: ResNet-50 20.74 against 22.85 %", LOWER, CHANGES),
}  # fmt: skip

IMAGENET = Paper("He et al. 2016a, ImageNet", 1_281_167, (
    Rule("data", "ImageNet, 1,000 classes", LARGE, among(
        ("imagenet", "imagenet1k", "ilsvrc", "ilsvrc2012", "imagenet2012", "ilsvrc12"),
        "other images: the paper's errors are no reference", UNKNOWN, CHANGES)),
    Rule("size", "224 pixels", LARGE, same(224.0, "images of another size"), False),
    Rule("validation", "none", LARGE, held_out, False),
    Rule("batch", "256", LARGE, batch(256)),
    Rule("learning_rate", "0.1", LARGE, rate(256)),
    Rule("schedule", "divided by 10 when the error stops falling", LARGE,
         schedule("step", "plateau"), note="fixed steps stand for plateaus"),
    Rule("steps", "600,000 at most, about 120 epochs", LARGE, length(600_000)),
    Rule("milestones", "two or three plateaus", LARGE, plateaus),
    Rule("warm-up", "none", LARGE, warming),
    Rule("crop", "the shorter side 256 to 480 at random, a random window of 224", LARGE, by_value(
        {"area": Effect(
            "windows of random area and aspect (Szegedy et al. 2014): more varied views, which "
            "long trainings gain from", LOWER, CHANGES)},
        Effect("other training views", UNKNOWN, CHANGES), "scale")),
    Rule("color", "AlexNet's PCA", LARGE, by_value(
        {"jitter": Effect("brightness, contrast and saturation varied", LOWER, MAY),
         "none": Effect("no varied colors", HIGHER, MAY)}, OTHER, "pca")),
    Rule("normalize", "the mean of each pixel subtracted", LARGE, among(
        ("pixel", "channel"), "nothing subtracted", UNKNOWN, MAY),
         note="of random windows at random scales, every pixel's mean is nearly its channel's"),
    Rule("precise_norms", "statistics averaged anew over many images", "the authors' README",
         lambda value, facts: None if value > 1000 else Effect(
             "statistics of the last batches, which the last steps' weights did not all see",
             UNKNOWN, COSMETIC), False),
    Rule("family", "plain or residual", TABLE, by_value(
        FAMILIES, OTHER, "plain for photographs", "resnet for photographs")),
    Rule("depth", "18, 34, 50, 101 or 152 layers", TABLE, among(
        (18, 34, 50, 101, 152), "the paper has no error for this depth", UNKNOWN, COSMETIC)),
    Rule("shortcut", "A in table 2, A to C in table 3, B from 50 layers on", "section 4.1",
         by_value({key: SHORTCUTS[key] for key in ("C", "D")}, OTHER, "A", "B")),
    Rule("stride", "in the first 1x1 of a bottleneck (v1)", "table 1: 3.8 billion",
         bottleneck_stride),
    Rule("width", "as in table 1", TABLE, same("1x64d", "other bottlenecks", LOWER), False),
    Rule("stem", "7x7", TABLE, same("7x7", "three 3x3 (He et al. 2018)", LOWER, MAY), False),
    Rule("protocol", "ten crops, their softmax averaged (tables 2, 3)", "section 4.1",
         by_value(VIEWS, OTHER, "ten-crop"), False),
    *BOTH,
))  # fmt: skip

PAPERS = {"paper-cifar": CIFAR, "paper-imagenet": IMAGENET}
