"""What a person reads of a run: one self-contained page, and a card beside the weights;
of several runs, and of a study, one page too."""

from residua.report.card import card
from residua.report.page import page
from residua.report.several import several
from residua.report.study import study_page

__all__ = ["card", "page", "several", "study_page"]
