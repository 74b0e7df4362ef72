"""The figures: of a run, of its scores, and of several runs side by side.

Every function takes plain values and a theme and returns a `Figure`; `save` writes it.
"""

from residua.plots.certainty import coverage, reliability
from residua.plots.confusion import confused_pairs, confusion
from residua.plots.construction import construction
from residua.plots.cost import cost, front
from residua.plots.curves import curves, number, series
from residua.plots.degradation import against_depth, degradation
from residua.plots.differences import differences
from residua.plots.flow import flow, flow_in_time
from residua.plots.gates import data_size, gate_bias, gates_by_block, gates_by_class
from residua.plots.grid import grid
from residua.plots.landscape import Plane, along, planes
from residua.plots.lesions import damaged, dropped, paths
from residua.plots.pictures import mistake, worst
from residua.plots.responses import responses
from residua.plots.shortcuts import shortcuts
from residua.theme import inks, printable, render, save, style

__all__ = [
    "Plane",
    "against_depth",
    "along",
    "confused_pairs",
    "confusion",
    "construction",
    "cost",
    "coverage",
    "curves",
    "damaged",
    "data_size",
    "degradation",
    "differences",
    "dropped",
    "flow",
    "flow_in_time",
    "front",
    "gate_bias",
    "gates_by_block",
    "gates_by_class",
    "grid",
    "inks",
    "mistake",
    "number",
    "paths",
    "planes",
    "printable",
    "reliability",
    "render",
    "responses",
    "save",
    "series",
    "shortcuts",
    "style",
    "worst",
]
