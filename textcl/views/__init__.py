"""One text → another view of it: random rewritings that keep the meaning, on token rows, on strings, or stored."""

from textcl.views.apertium import Apertium
from textcl.views.back_translation import BackTranslation, Rewriter, Translator
from textcl.views.cropping import Crop, InverseCloze, Neighbours
from textcl.views.dropout import Dropout
from textcl.views.editing import Delete, Repeat, Shuffle
from textcl.views.fields import Fields
from textcl.views.keywords import Keywords
from textcl.views.masking import Cutoff, Mask, Replace, SpanMask
from textcl.views.sequence import Generation, SequenceModel
from textcl.views.store import Stored, ViewStore
from textcl.views.strength import Ramp
from textcl.views.view import Chain, Choice, FieldView, PairView, StoredView, TextView, View, Where
from textcl.views.words import LetterCase, Typos, WordDelete, WordOrder

__all__ = [
    "Apertium",
    "BackTranslation",
    "Chain",
    "Choice",
    "Crop",
    "Cutoff",
    "Delete",
    "Dropout",
    "FieldView",
    "Fields",
    "Generation",
    "InverseCloze",
    "Keywords",
    "LetterCase",
    "Mask",
    "Neighbours",
    "PairView",
    "Ramp",
    "Repeat",
    "Replace",
    "Rewriter",
    "SequenceModel",
    "Shuffle",
    "SpanMask",
    "Stored",
    "StoredView",
    "TextView",
    "Translator",
    "Typos",
    "View",
    "ViewStore",
    "Where",
    "WordDelete",
    "WordOrder",
]
