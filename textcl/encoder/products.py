"""How an encoder that only embeds multiplies: with weights laid out for the machine, and in fewer bits where asked.

Nearly all of an encoder's work is its linear layers. For the length of a `with` each of them runs another product of
the same weights: in fp32 oneDNN's over a copy of the weights in the order in which the machine reads them, which is the
same number to rounding; in bf16 the same over weights and inputs of 16 bits; in int8 over weights rounded to 8 bits for
each output and inputs rounded to 8 bits for each product. Attention, norms and sums stay in fp32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError

Precision = Literal["fp32", "bf16", "int8"]
_TYPICAL_ROWS = 1536  # what oneDNN lays the weights out for; other numbers of tokens run on the same layout
_WORTH_ITS_COPY = 256  # tokens of a product, below which laying the weights out costs more than it gains
_WEIGHT_LEVELS = 127

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Loss:
    """How near the embeddings of lower precision come to those of fp32.

    Args:
        texts: Texts compared.
        mean_cosine: Mean over them of the cosine between the two embeddings of a text.
        least_cosine: The least one.
    """

    texts: int
    mean_cosine: float
    least_cosine: float

    def __str__(self) -> str:
        mean, least = f"{self.mean_cosine:.5f} on average", f"{self.least_cosine:.5f} at least"
        return f"cosine to fp32 {mean}, {least} ({self.texts} texts)"


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise ConfigError if `device` has no products in `precision`."""
    if precision == "int8" and device.type != "cpu":
        raise ConfigError("precision", precision, f"fp32 or bf16 on {device.type}, since int8 is for CPUs")
    if precision == "int8" and not _has_onednn():
        raise ConfigError("precision", precision, "fp32 or bf16, since this build of torch has no oneDNN")


@contextmanager
def products(encoder: SentenceTransformer, precision: Precision) -> Iterator[None]:
    """Let the linear layers of `encoder` run in `precision` inside a `with`; no gradients flow through them there.

    Layers of other types than float32 stay as they are. On a GPU bf16 is autocast's.
    """
    if encoder.device.type != "cpu":
        with torch.autocast(encoder.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            yield
        return
    layers = [one for one in encoder.modules() if type(one) is nn.Linear and one.weight.dtype == torch.float32]
    with _forwards(layers, _MADE_BY[precision]):
        yield


@contextmanager
def _forwards(layers: Sequence[nn.Linear], make: Callable[[nn.Linear], Product]) -> Iterator[None]:
    """Put a product in the place of each layer's `forward` inside a `with`."""
    for layer in layers:
        layer.__dict__["forward"] = make(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["forward"]


def _fp32(layer: nn.Linear) -> Product:
    if not _has_onednn():
        return functools.partial(F.linear, weight=layer.weight, bias=layer.bias)
    packed = functools.cache(functools.partial(_laid_out, layer.weight))

    def product(rows: Tensor) -> Tensor:
        if rows.numel() < _WORTH_ITS_COPY * layer.in_features:
            return F.linear(rows, layer.weight, layer.bias)
        return _onednn(rows, packed(), layer.bias)

    return product


def _bf16(layer: nn.Linear) -> Product:
    weight, bias = layer.weight.detach().bfloat16(), None if layer.bias is None else layer.bias.detach().bfloat16()
    if not (_has_onednn() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return lambda rows: F.linear(rows.bfloat16(), weight, bias).float()
    packed = _laid_out(weight)
    return lambda rows: _onednn(rows.bfloat16(), packed, bias).float()


def _int8(layer: nn.Linear) -> Product:
    """Return the product of the layer's weights in 8 bits: whole numbers and one scale for each output.

    Inputs are shifted and scaled in each call by their least and greatest. Without VNNI the machine adds pairs of
    products in 16 bits, where 8 bits a side overflow; inputs have 7 there.
    """
    weight, bias = layer.weight.detach(), None if layer.bias is None else layer.bias.detach()
    scales = (weight.abs().amax(dim=1) / _WEIGHT_LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
    whole = (weight / scales[:, None]).round().to(torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(whole, [_TYPICAL_ROWS, layer.in_features])
    zeros = torch.zeros(len(scales), dtype=torch.int32)
    half = torch.tensor(0.5)
    levels = 254 if torch.cpu._is_vnni_supported() else 126  # one more is left for what the shift rounds up

    def product(rows: Tensor) -> Tensor:
        least, most = (float(bound) for bound in rows.aminmax())
        least, most = min(least, 0.0), max(most, 0.0)  # 0 stays 0
        scale = (most - least) / levels or 1.0
        zero = round(-least / scale)
        small = torch.add(half + zero, rows, alpha=1 / scale).to(torch.uint8)  # which cuts behind the point
        made: Tensor = torch.ops.onednn.qlinear_pointwise(
            small, scale, zero, packed, scales, zeros, bias, 1.0, 0, torch.float32, "none", [], ""
        )
        return made

    return product


def _has_onednn() -> bool:
    return bool(cast(Any, torch.backends.mkldnn).is_available())


def _laid_out(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), _TYPICAL_ROWS)
    return packed


def _onednn(rows: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, "none", [], "")
    return made


_MADE_BY: dict[Precision, Callable[[nn.Linear], Product]] = {"fp32": _fp32, "bf16": _bf16, "int8": _int8}
