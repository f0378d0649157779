from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from tests.encoder.families import encoder_of_family
from tests.strategies import plain_rows
from textcl.encoder.embed import embed_blocks, embed_texts, measure_loss
from textcl.encoder.forward import forward_rows
from textcl.encoder.layers import transformer_of
from textcl.encoder.packing import FAMILIES
from textcl.encoder.products import (
    Loss,
    check_precision,
    embedding_products,
    has_onednn,
    linear,
    multiplies_bytes,
    products,
)
from textcl.errors import ConfigError

pytestmark = pytest.mark.skipif(not has_onednn(), reason="products by oneDNN are for x86 CPUs")

STEP = {"fp32": 1e-6, "bf16": 2**-8, "int8": 2**-6 if multiplies_bytes() else 2**-5}


def layers_of(module):
    return [one for one in module.modules() if type(one) is nn.Linear]


class Pair(nn.Module):
    """As much of an encoder as `products` asks for: two linear layers on a device."""

    device = torch.device("cpu")

    def __init__(self, wide, narrow):
        super().__init__()
        torch.manual_seed(0)
        self.up = nn.Linear(narrow, wide)
        self.down = nn.Linear(wide, narrow, bias=False)

    def forward(self, rows):
        return self.down(self.up(rows))


@pytest.mark.parametrize("rows", [1, 255, 256, 700])
@pytest.mark.parametrize("precision", STEP)
def test_products_are_those_of_the_layers_to_the_step_of_their_precision(rows, precision):
    pair, inputs = Pair(96, 32), torch.randn(1, rows, 32)
    with torch.inference_mode():
        exact = pair(inputs)
        with embedding_products(pair, precision):
            near = pair(inputs)
        assert torch.equal(pair(inputs), exact), "the layers' own products are back"
    assert near.dtype == torch.float32
    error = ((near - exact).norm() / exact.norm()).item()
    assert error < STEP[precision]
    assert precision == "fp32" or error > 1e-4, "fewer bits are seen"


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(5, 32), (1, 300, 32), (2, 3, 32)])
def test_the_product_by_onednn_has_the_values_and_gradients_of_torchs(shape, biased):
    torch.manual_seed(1)
    rows, weight, bias = torch.randn(shape), torch.randn(48, 32), torch.randn(48)
    found = []
    for run in (linear, F.linear):
        leaves = [one.clone().requires_grad_() for one in (rows, weight, *([bias] if biased else []))]
        made = run(*leaves)
        (made.sin() * torch.arange(48)).sum().backward()
        found.append([made, *(one.grad for one in leaves)])
    assert type(found[0][0].grad_fn).__name__ == "_LinearBackward", "not torch's own"
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-3)


def test_what_needs_no_gradient_gets_none():
    rows, weight, bias = torch.randn(4, 32), torch.randn(48, 32, requires_grad=True), torch.randn(48)
    linear(rows, weight, bias).sum().backward()
    assert weight.grad is not None
    assert rows.grad is bias.grad is None
    frozen = torch.randn(48, 32)
    linear(rows.requires_grad_(), frozen, bias).sum().backward()
    assert_close(rows.grad, frozen.sum(0).expand(4, -1))
    assert frozen.grad is None


def test_gradients_flow_through_the_products_of_an_encoder():
    pair, rows = Pair(96, 32), torch.randn(300, 32)
    grads = []
    for within in (nullcontext(), products(pair)):
        pair.zero_grad()
        with within:
            pair(rows).square().mean().backward()
        grads.append([one.grad for one in pair.parameters()])
    assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


def test_autocast_and_other_types_keep_torchs_own():
    rows, weight = torch.randn(4, 32), torch.randn(48, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(rows, weight).dtype == torch.bfloat16
    double = linear(rows.double(), weight.double())
    assert torch.equal(double, F.linear(rows.double(), weight.double()))


@pytest.mark.parametrize("inputs", [torch.zeros(3, 32), torch.full((3, 32), 5.0), -torch.rand(3, 32), torch.eye(3, 32)])
def test_int8_takes_inputs_of_one_value_or_one_sign(inputs):
    pair = Pair(96, 32)
    with torch.inference_mode():
        exact = pair(inputs)
        with embedding_products(pair, "int8"):
            near = pair(inputs)
    assert (near - exact).abs().max() <= 0.02 * exact.abs().max()


def test_int8_of_a_layer_without_weights_is_its_bias():
    pair = Pair(96, 32)
    nn.init.zeros_(pair.up.weight)
    with torch.inference_mode(), embedding_products(pair, "int8"):
        assert torch.equal(pair.up(torch.randn(4, 32)), pair.up.bias.expand(4, -1))


def test_the_layers_are_their_own_again_also_after_an_error(tiny_encoder):
    with pytest.raises(AttributeError), embedding_products(tiny_encoder, "int8"):
        layers_of(tiny_encoder)[0](None)
    assert not any("forward" in one.__dict__ for one in tiny_encoder.modules())


def test_weights_that_changed_since_are_those_that_count(tiny_encoder, tiny_corpus):
    texts = tiny_corpus * 10  # enough that the weights are laid out
    before = embed_texts(tiny_encoder, texts).vectors
    with torch.no_grad():
        for layer in layers_of(tiny_encoder):
            layer.weight.mul_(1.5)
    with torch.inference_mode():
        after = embed_texts(tiny_encoder, texts).vectors
    stock = tiny_encoder.encode(texts, normalize_embeddings=True)
    assert np.abs(after - before).max() > 1e-3
    assert np.abs(after - stock).max() < 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_embeds_in_every_precision(family, tiny_corpus, tiny_model_folder):
    encoder = encoder_of_family(tiny_model_folder, family, vocab_size=5000, hidden_size=32)
    stock = encoder.encode(tiny_corpus, normalize_embeddings=True)
    assert np.abs(embed_texts(encoder, tiny_corpus).vectors - stock).max() < 2e-6
    for precision in ("bf16", "int8"):
        near = embed_texts(encoder, tiny_corpus, precision=precision).vectors
        assert 1e-5 < np.abs(near - stock).max() < 0.2
        assert (near * stock).sum(axis=1).min() > 0.98


def test_a_block_has_the_same_bits_in_int8_whatever_came_before_it(tiny_encoder, tiny_corpus):
    made = [block.vectors for block in embed_blocks(tiny_encoder, [tiny_corpus, tiny_corpus[:9]], precision="int8")]
    (alone,) = (block.vectors for block in embed_blocks(tiny_encoder, [tiny_corpus[:9]], precision="int8"))
    assert np.array_equal(made[1], alone)


def test_the_loss_is_the_cosine_to_full_precision(tiny_encoder, tiny_corpus):
    exact = embed_texts(tiny_encoder, tiny_corpus).vectors
    near = embed_texts(tiny_encoder, tiny_corpus, precision="int8").vectors
    cosines = (exact * near).sum(axis=1)
    found = measure_loss(tiny_encoder, tiny_corpus, "int8")
    assert found.texts == 60
    assert found.mean_cosine == pytest.approx(cosines.mean(), abs=1e-6)
    assert found.least_cosine == pytest.approx(cosines.min(), abs=1e-6)
    assert found.least_cosine < found.mean_cosine < 0.99999
    assert str(Loss(60, 0.99, 0.98)) == "cosine to fp32 0.99000 on average, 0.98000 at least (60 texts)"


def test_int8_is_refused_away_from_the_cpu_in_words():
    check_precision("int8", torch.device("cpu"))
    check_precision("bf16", torch.device("cuda"))
    with pytest.raises(ConfigError, match=r"^precision: expected fp32 or bf16, since int8 is for x86 CPUs and .*, got"):
        check_precision("int8", torch.device("cuda"))
    with pytest.raises(ConfigError, match=r"^precision: expected one of fp32, bf16, int8, got 'fp8'$"):
        check_precision("fp8", torch.device("cpu"))


def test_every_linear_layer_of_a_forward_pass_runs_by_onednn(tiny_encoder):
    rows = plain_rows(*([2, *range(20, 40), 3] for _ in range(20)))
    for encoder in (tiny_encoder.train(), tiny_encoder.eval()):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            forward_rows(encoder, rows).sum().backward()
        calls = {one.key: one.count for one in seen.key_averages()}
        layers = len(layers_of(transformer_of(encoder).encoder))
        # Forward, and the gradient of what came in; forward alone of the pooler, which no embedding asks for.
        assert calls["mkldnn::_linear_pointwise"] == 2 * layers + 1
        assert "aten::addmm" not in calls


def test_weights_are_laid_out_once_and_only_for_many_tokens(tiny_encoder, tiny_corpus):
    for texts, layers in (
        (tiny_corpus[:3], 0),
        (tiny_corpus * 20, len(layers_of(transformer_of(tiny_encoder).encoder))),
    ):
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            embed_texts(tiny_encoder, texts)
        calls = {one.key: one.count for one in seen.key_averages()}
        assert calls.get("mkldnn::_reorder_linear_weight", 0) == layers
        assert calls["mkldnn::_linear_pointwise"] > layers
