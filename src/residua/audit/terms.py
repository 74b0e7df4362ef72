"""What people call the settings of a training, and what they mean by their values.

A configuration of any project is flattened to keys and values; ALIASES gives a key its meaning and
READERS a value. What has no meaning here is told as unknown, never passed over.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from residua.settings import convert


class Said(NamedTuple):
    """What a configuration says about one setting."""

    value: Any
    key: str  # as it was written


class Unread(NamedTuple):
    """What it says that cannot be understood, or does not say."""

    setting: str  # a key as it was written, or the term that is missing
    value: Any
    why: str


class WarmUp(NamedTuple):
    """A low rate at first: until a step, which may never come, or until a training error."""

    end: float
    error: float

    def __str__(self) -> str:
        if self.error:
            return f"until the training error is below {100 * self.error:g} %"
        return f"{self.end:,.0f} steps" if self.end < math.inf else "never ends"


class Reading(NamedTuple):
    """A configuration understood."""

    said: dict[str, Said]  # by our terms
    unread: list[Unread]
    neutral: list[str]  # keys of settings that decide no result


ALIASES: dict[str, tuple[str, ...]] = {
    "network": ("arch", "architecture", "model", "model_name", "backbone", "net", "net_type"),
    "depth": ("layers", "num_layers", "model_depth"),
    "shortcut": ("shortcut_type", "option", "shortcut_option"),
    "stride": ("stride_placement", "stride_in", "resnet_version"),
    "data": ("dataset", "dataset_name"),
    "train_images": ("num_train", "train_size", "training_images"),
    "validation": ("val_size", "val_split", "validation_split", "validation_images", "valid_size"),
    "epochs": ("n_epochs", "num_epochs", "max_epochs", "max_epoch", "total_epochs"),
    "steps": ("iterations", "max_iter", "max_steps", "num_steps", "total_steps", "iters"),
    "batch": ("batch_size", "train_batch", "train_batch_size", "bs"),
    "learning_rate": ("lr", "base_lr", "initial_lr", "init_lr", "lr0"),
    "schedule": ("scheduler", "lr_scheduler", "lr_schedule", "lr_policy"),
    "milestones": ("lr_milestones", "lr_steps", "decay_epochs", "lr_decay_epochs", "step_values"),
    "period": ("step_size", "lr_step_size", "lr_step", "decay_every", "lr_decay_every"),
    "factor": ("gamma", "lr_gamma", "lr_decay", "decay_factor", "lr_factor"),
    "optimizer": ("optim", "opt", "solver"),
    "momentum": ("mom", "mu"),
    "dampening": (),
    "nesterov": ("use_nesterov",),
    "loss": ("criterion", "loss_function", "objective"),
    "weight_decay": ("wd", "l2", "l2_penalty"),
    "decay_norms": ("bn_weight_decay", "decay_bn", "decay_bias", "weight_decay_norm", "bn_decay"),
    "spare_norms": ("no_bias_decay", "no_bn_decay", "no_wd_bn", "skip_norm_decay"),
    "warmup": ("warmup_epochs", "warmup_epoch", "warm_up", "lr_warmup_epochs", "warmup_length"),
    "warmup_steps": ("warmup_iters", "warmup_iterations"),
    "warmup_rate": ("warmup_lr", "warmup_factor", "warmup_start_lr", "lr_warmup"),
    "warmup_end": ("warmup_until",),
    "warmup_error": (),
    "crop": ("random_crop", "train_crop", "crop_padding", "random_crop_padding", "padding"),
    "flip": ("hflip", "horizontal_flip", "random_flip", "mirror", "random_horizontal_flip"),
    "color": ("color_jitter", "colour", "jitter", "color_augmentation", "lighting"),
    "normalize": ("normalization", "mean", "std", "preprocessing", "mean_subtraction"),
    "mixup": ("mixup_alpha",),
    "cutout": ("cutout_length", "random_erasing", "random_erase"),
    "label_smoothing": ("smoothing", "smooth"),
    "dropout": ("drop_rate", "dropout_rate"),
    "clip": ("clip_grad", "grad_clip", "max_norm", "clip_grad_norm"),
    "ema": ("model_ema", "ema_decay"),
    "precision": ("dtype", "half", "amp", "fp16", "mixed_precision"),
    "weights": ("init", "pretrained", "retrain", "initialization", "weight_init"),
    "zero_init": ("zero_gamma", "zero_init_residual", "last_gamma"),
    "precise_norms": ("precise_bn", "precise_bn_samples"),
    "size": ("image_size", "img_size", "imgsz", "input_size", "crop_size"),
    "select": ("selection", "report", "best", "checkpoint_selection", "select_on", "reported"),
    "protocol": ("test_crop", "ten_crop", "eval_protocol"),
    "grow": ("progressive_resizing",),
    "alternate": (),
    "whiten": (),
    "time": (),
}
TERMS = {alias: term for term, own in ALIASES.items() for alias in (term, *own)}

# Settings that say how a training runs, and not what it computes; `fit` bears on photographs that
# are not square, where the training views take its place.
NEUTRAL = frozenset(
    "seed manual_seed device gpu gpus n_gpu num_gpus n_threads threads workers num_workers "
    "processes fused compile memory in_memory cache fit checkpoint_every print_freq log_interval "
    "log_every save_dir save_every save_freq save output output_dir out log_dir logdir name tag "
    "experiment resume start_epoch epoch_number evaluate test_only verbose debug backend cudnn "
    "cudnn_benchmark benchmark deterministic pin_memory persistent_workers data_dir data_path "
    "root download share_grad_input optnet gen distributed world_size rank dist_url port "
    "test_batch eval_batch_size test_batch_size val_batch_size data_parallel recipe".split()
)
GROUPS = ("name", "type", "kind", "value", "class")  # keys that say no more than their group's

NO = ("no", "none", "false", "off", "0", "", "null")
YES = ("yes", "true", "on", "1")


def word(value: Any) -> str:
    """A value in lower case with single hyphens."""
    return re.sub(r"[\s_]+", "-", str(value).strip().lower())


def boolean(value: Any) -> bool:
    """Yes, no, or how likely."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value > 0
    return {**dict.fromkeys(NO, False), **dict.fromkeys(YES, True)}[word(value)]


def number(value: Any) -> float:
    """A number; "no" is 0 and "never" infinite."""
    if word(value) in ("never", "inf", "infinite"):
        return math.inf
    if isinstance(value, bool) and value:
        raise ValueError("no number")
    return 0.0 if value is False or word(value) in NO else float(value)


def meaning_of(term: str, value: Any) -> Any:
    """A value as ours.

    Raises:
        ValueError, TypeError, KeyError, StopIteration: it cannot be understood.
    """
    reader: Callable[[Any], Any] = READERS.get(term, number)
    return reader(value)


def numbers(value: Any) -> tuple[float, ...]:
    """Several numbers, in a list or with commas."""
    parts = value.strip("[]() ").split(",") if isinstance(value, str) else value
    return tuple(float(part) for part in (parts if isinstance(parts, list | tuple) else [parts]))


def duration(value: Any) -> float:
    found: float | None = convert("time", value, "")
    return found or 0.0


def choice(**words: str) -> Callable[[Any], str]:
    """A value by the first of these patterns that is in it; values are our words."""

    def read(value: Any) -> str:
        text = "no" if value is None else word(value)
        return next(ours for ours, pattern in words.items() if re.search(pattern, text))

    return lambda value: read(value).replace("_", "-")


def normalization(value: Any) -> str:
    """Of each pixel or of each channel; three numbers are those of channels."""
    if isinstance(value, list | tuple) or re.fullmatch(r"[\d.,\s\[\]()]+", str(value)):
        return "channel" if len(numbers(value)) in (1, 3) else "pixel"
    return choice(
        pixel="pixel|mean-image", channel="channel|imagenet|mean.*std", none="^no|^false"
    )(value)


def cropping(value: Any) -> str:
    """How a training view is cut; a number is the padding in pixels."""
    if isinstance(value, int | float) and not isinstance(value, bool) or word(value).isdigit():
        return "pad" if float(value) == 4 else f"pad {float(value):g}"
    return choice(
        area="area|resized|inception|aspect",
        scale="scale|256.*480",
        shift="shift",
        pad="pad",
        none="^no|^false|^off|center",
    )(value)


def initial(value: Any) -> str:
    """Drawn as He et al. do, in another way, or taken from weights."""
    if value is None or word(value) in NO:
        return "he"
    text = word(value)
    if re.search("xavier|glorot|normal$|uniform$|orthogonal", text) and "kaiming" not in text:
        return text
    return "he" if re.search("^he\\b|kaiming|msra", text) else "weights"


READERS: dict[str, Callable[[Any], Any]] = {
    "network": str,
    "depth": lambda value: int(number(value)),
    "shortcut": lambda value: word(value).upper() if len(word(value)) == 1 else word(value),
    "stride": lambda value: choice(
        **{"3x3": r"3x3|1\.5|second|v1b", "1x1": r"1x1|v?1(\.0)?$|first|caffe"}
    )(value),
    "data": lambda value: re.sub("[^a-z0-9]+", "", word(value).split("/")[-1]),
    "period": number,
    "milestones": numbers,
    "schedule": choice(
        step="step|piecewise|milestone",
        plateau="plateau",
        one_cycle="one-?cycle",
        cosine="cos",
        constant="constant|^no|fixed",
        linear="linear",
        polynomial="poly",
        exponential="exp",
    ),
    "optimizer": choice(
        caffe_sgd="caffe", adamw="adam-?w", adam="adam", rmsprop="rms", muon="muon", lars="lars",
        lamb="lamb", sgd="sgd|momentum|nesterov",
    ),
    "nesterov": boolean,
    "decay_norms": boolean,
    "spare_norms": boolean,
    "flip": boolean,
    "alternate": boolean,
    "zero_init": boolean,
    "loss": choice(cross_entropy="cross|^ce$|nll|softmax|^no", other="."),
    "color": choice(
        pca="pca|lighting", none=r"^no|false|off|^0(\.0)?$", jitter=r"jitter|true|yes|bright|^\d"
    ),
    "crop": cropping,
    "normalize": normalization,
    "precision": choice(
        bf16="bf16|bfloat", fp16="16|half|mixed|amp|true|yes|^o[1-3]$", fp32="32|full|^no|false|o0"
    ),
    "weights": initial,
    "select": choice(
        test="test", best="best|valid|^val|early", last="last|final|end|^no|false"
    ),
    "protocol": choice(ten_crop="ten|10|true", multi_scale="multi|dense", single="single|1|false"),
    "warmup_end": lambda value: str(value),
    "grow": numbers,
    "whiten": choice(off="off|^no|auto", on="."),
    "time": duration,
}  # fmt: skip


def read(table: Mapping[str, Any]) -> Reading:
    """Understand the keys and values of a configuration, nested or not.

    None, "auto" and empty lists say nothing.
    """
    found = Reading({}, [], [])
    for key, value in flat(table):
        term = term_of(key)
        if value in (None, "auto", (), []):
            continue
        if term is None:
            neutral = own_name(key) in NEUTRAL
            if neutral:
                found.neutral.append(key)
            else:
                found.unread.append(Unread(key, value, "no setting of this name is known here"))
            continue
        try:
            meant = meaning_of(term, value)
        except (ValueError, TypeError, KeyError, StopIteration, OverflowError, RuntimeError):
            found.unread.append(Unread(key, value, f"as {term.replace('_', ' ')}, not understood"))
            continue
        earlier = found.said.get(term)
        if earlier is not None and earlier.value != meant:
            why = f"contradicts {earlier.key} = {earlier.value}"
            found.unread.append(Unread(key, value, why))
        else:
            found.said.setdefault(term, Said(meant, key))
    return found


def flat(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Keys with those of their groups, and their values."""
    for key, value in table.items():
        path = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from flat(value, path)
        else:
            yield path, value


def spelled(key: str) -> str:
    """weightDecay, weight-decay -> weight_decay."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key)
    return re.sub(r"[\s-]+", "_", apart).lower()


def own_name(key: str) -> str:
    """The last part of a key that says something."""
    parts = [spelled(part) for part in key.split(".")]
    return parts[-2] if len(parts) > 1 and parts[-1] in GROUPS else parts[-1]


def term_of(key: str) -> str | None:
    """What a key means: by its group and its name together, else by its name."""
    parts: Sequence[str] = [spelled(part) for part in key.split(".")]
    together = "_".join(parts[-2:])
    return TERMS.get(together) or TERMS.get(own_name(key))


def shown(value: Any) -> Any:
    """A value as JSON and a person have it."""
    if isinstance(value, WarmUp):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [shown(part) for part in value] if isinstance(value, tuple) else value
