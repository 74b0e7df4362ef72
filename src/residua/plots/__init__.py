"""The figures: of a run, of its scores, and of several runs side by side.

Every function takes plain values and a theme and returns a `Figure`; `save` writes it.
"""

from residua.plots.certainty import coverage, reliability
from residua.plots.confusion import confused_pairs, confusion
from residua.plots.cost import cost, front
from residua.plots.curves import curves, number, series
from residua.plots.degradation import against_depth, degradation
from residua.plots.differences import differences
from residua.plots.pictures import mistake, worst
from residua.theme import inks, printable, render, save, style

__all__ = [
    "against_depth",
    "confused_pairs",
    "confusion",
    "cost",
    "coverage",
    "curves",
    "degradation",
    "differences",
    "front",
    "inks",
    "mistake",
    "number",
    "printable",
    "reliability",
    "render",
    "save",
    "series",
    "style",
    "worst",
]
