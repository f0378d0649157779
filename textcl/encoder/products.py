"""The products of an encoder's linear layers, nearly all of its work: by oneDNN, and in fewer bits where asked.

torch hands products of float32 to MKL, which on an AMD processor takes a quarter longer than oneDNN, of the same torch.
So for the length of a `with` the linear layers of an encoder on an x86 CPU run by oneDNN, with gradients: the same
numbers to rounding. For embedding alone there are products in fewer bits: bf16 over weights and inputs of 16 bits, int8
over weights rounded to 8 bits for each output and inputs rounded to 8 bits for each product. Attention, norms and sums
stay in fp32.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from textcl.errors import ConfigError

Precision = Literal["fp32", "bf16", "int8"]
_TYPICAL_ROWS = 1536  # what oneDNN lays weights out for; other numbers of tokens run on the same layout
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
    if precision not in _MADE_BY:
        raise ConfigError("precision", precision, f"one of {', '.join(_MADE_BY)}")
    if precision == "int8" and not (device.type == "cpu" and has_onednn()):
        raise ConfigError("precision", precision, "fp32 or bf16, since int8 is for x86 CPUs and a torch with oneDNN")


def multiplies_bytes() -> bool:
    """Tell whether the processor adds products of bytes in 32 bits (VNNI); without, int8 is coarser and slower."""
    return bool(torch.cpu._is_vnni_supported())


@contextmanager
def products(encoder: SentenceTransformer) -> Iterator[None]:
    """Let the linear layers of `encoder` run by oneDNN inside a `with`, gradients included.

    Layers of other types than float32, and those inside such a `with` already, stay as they are; on a GPU all do.
    """
    if encoder.device.type == "cpu":
        with _replaced(encoder, lambda layer: functools.partial(linear, weight=layer.weight, bias=layer.bias)):
            yield
    else:
        yield


@contextmanager
def embedding_products(encoder: SentenceTransformer, precision: Precision) -> Iterator[None]:
    """Let the linear layers of `encoder` run in `precision` inside a `with`, without gradients.

    Weights are rounded, or laid out for the machine, once: what changes them meanwhile is not seen. Layers of other
    types than float32 stay as they are. On a GPU bf16 is autocast's.
    """
    if encoder.device.type != "cpu":
        with torch.autocast(encoder.device.type, torch.bfloat16) if precision == "bf16" else nullcontext():
            yield
        return
    with _replaced(encoder, _MADE_BY[precision]):
        yield


@contextmanager
def _replaced(encoder: SentenceTransformer, make: Callable[[nn.Linear], Product]) -> Iterator[None]:
    """Put products in the place of linear layers' own inside a `with`."""
    layers = [
        one
        for one in encoder.modules()
        if type(one) is nn.Linear and one.weight.dtype == torch.float32 and "forward" not in one.__dict__
    ]
    for layer in layers:
        layer.__dict__["forward"] = make(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)  # another thread's `with` may have ended first


def _fp32(layer: nn.Linear) -> Product:
    laid_out = functools.cache(
        lambda: torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().contiguous(), _TYPICAL_ROWS)
    )

    def product(rows: Tensor) -> Tensor:
        if rows.numel() < _WORTH_ITS_COPY * layer.in_features or not _suits_onednn(rows, layer.weight):
            return linear(rows, layer.weight, layer.bias)
        return _product(rows, laid_out(), layer.bias)

    return product


def _bf16(layer: nn.Linear) -> Product:
    weight, bias = layer.weight.detach().bfloat16(), None if layer.bias is None else layer.bias.detach().bfloat16()
    return lambda rows: F.linear(rows.bfloat16(), weight, bias).float()


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
    levels = 254 if multiplies_bytes() else 126  # one more is left for what the shift rounds up

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


_MADE_BY: dict[Precision, Callable[[nn.Linear], Product]] = {"fp32": _fp32, "bf16": _bf16, "int8": _int8}


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows @ weight.T + bias, (..., N), of (..., K) rows, (N, K) weights and (N,) bias, by oneDNN if it can."""
    if not _suits_onednn(rows, weight):
        return F.linear(rows, weight, bias)
    if torch.is_grad_enabled():
        return cast(Tensor, cast(Any, _Linear).apply(rows, weight, bias))
    return _product(rows, weight, bias)


def _suits_onednn(rows: Tensor, weight: Tensor) -> bool:
    return (
        has_onednn()
        and rows.dtype == weight.dtype == torch.float32
        and rows.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    )


@functools.cache
def has_onednn() -> bool:
    """Tell whether products run by oneDNN: on x86, in a torch that has it. It was found faster on AMD processors."""
    return platform.machine() in ("x86_64", "AMD64") and bool(cast(Any, torch.backends.mkldnn).is_available())


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return made


class _Linear(torch.autograd.Function):
    """`linear` with gradients, those of the rows by oneDNN too."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(rows, weight)
        return _product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # noqa: ANN401
        rows, weight = ctx.saved_tensors
        for_rows, for_weight, for_bias = ctx.needs_input_grad
        flat = gradient.reshape(-1, gradient.shape[-1])
        return (
            _product(gradient, weight.T) if for_rows else None,
            flat.T @ rows.reshape(-1, rows.shape[-1]) if for_weight else None,  # as fast by MKL, or faster
            flat.sum(0) if for_bias else None,
        )
