"""What a person reads of a run: one self-contained page, and a card beside the weights;
of several runs, one page too."""

from residua.report.card import card
from residua.report.page import page
from residua.report.several import several

__all__ = ["card", "page", "several"]
