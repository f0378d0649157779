"""One text → another view of it: random rewritings that keep the meaning, on batches of token rows or on records."""

from textcl.views.cropping import Crop, InverseCloze
from textcl.views.dropout import Dropout
from textcl.views.fields import Fields
from textcl.views.masking import Mask
from textcl.views.view import Chain, FieldView, PairView, View

__all__ = ["Chain", "Crop", "Dropout", "FieldView", "Fields", "InverseCloze", "Mask", "PairView", "View"]
