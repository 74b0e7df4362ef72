"""Residua: deep residual networks for image classification, trained, tested and explained.

The public names are resolved when first used, so that importing this loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from residua.api import (
        Run,
        Studied,
        draw,
        features,
        load,
        network,
        predict,
        resume,
        study,
        train,
    )
    from residua.checkpoints import open_weights
    from residua.errors import ResiduaError

__all__ = [
    "ResiduaError",
    "Run",
    "Studied",
    "draw",
    "features",
    "load",
    "network",
    "open_weights",
    "predict",
    "resume",
    "study",
    "train",
]

HOMES = {"ResiduaError": "residua.errors", "open_weights": "residua.checkpoints"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES.get(name, "residua.api")), name)


def __dir__() -> list[str]:
    return __all__
