"""What a person reads of a run: one self-contained page, and a card beside the weights."""

from residua.report.card import card
from residua.report.page import page

__all__ = ["card", "page"]
