from __future__ import annotations

import pytest
import torch
from sentence_transformers.sentence_transformer.modules import Dense

from tests.encoder.tiny_architectures import ARCHITECTURES, tiny_encoder_of
from textcl.encoder.layers import depth_of_parameters, freeze_layers, layers_of
from textcl.errors import ConfigError

LAYERED = [kind for kind in ARCHITECTURES if kind not in ("albert", "xlm")]
# What comes behind the layers; every other parameter outside them stands before.
BEHIND = {
    "bert": ["pooler.dense.weight", "pooler.dense.bias"],
    "roberta": ["pooler.dense.weight", "pooler.dense.bias"],
    "mpnet": ["pooler.dense.weight", "pooler.dense.bias"],
    "modernbert": ["final_norm.weight"],
    "qwen3": ["norm.weight"],
    "t5": ["encoder.final_layer_norm.weight"],
    "t5 of 2 layers": ["encoder.final_layer_norm.weight"],
}


def run_order(encoder):
    """The layers in the order in which a text passes them."""
    order = []
    hooks = [layer.register_forward_hook(lambda *_, layer=layer: order.append(layer)) for layer in layers_of(encoder)]
    encoder.encode(["The river rises."])
    for hook in hooks:
        hook.remove()
    return order


@pytest.mark.parametrize("kind", LAYERED)
def test_the_layers_are_found_and_a_text_passes_them_in_their_order(kind, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    assert len(layers_of(encoder)) == (2 if kind == "t5 of 2 layers" else 3)
    assert run_order(encoder) == list(layers_of(encoder))


@pytest.mark.parametrize(("kind", "name"), [("albert", "AlbertModel"), ("xlm", "XLMModel")])
def test_an_encoder_without_a_list_of_layers_is_refused(kind, name, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    with pytest.raises(ConfigError, match=rf"^model: expected a transformer with one list of layers, got '{name}'$"):
        layers_of(encoder)


@pytest.mark.parametrize("kind", LAYERED)
def test_depth_counts_from_the_embeddings_to_what_is_behind_the_layers(kind, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    layers, expected = layers_of(encoder), {}
    for name, parameter in encoder.named_parameters():
        within = [depth for depth, layer in enumerate(layers, 1) for one in layer.parameters() if one is parameter]
        behind = name.removeprefix("0.model.") in BEHIND.get(kind, [])
        expected[name] = within[0] if within else len(layers) + 1 if behind else 0
    assert list(depth_of_parameters(encoder).items()) == list(expected.items())
    assert sum(depth == len(layers) + 1 for depth in expected.values()) == len(BEHIND.get(kind, []))


def test_modules_after_the_transformer_are_behind_its_layers(tmp_path, tiny_tokenizer):
    for kind in ("bert", "deberta"):
        encoder = tiny_encoder_of(kind, tmp_path / kind, tiny_tokenizer)
        encoder.append(Dense(16, 8))
        depths = depth_of_parameters(encoder)
        assert {name: depths[name] for name in depths if name.startswith("2.")} == {
            "2.linear.weight": 4,
            "2.linear.bias": 4,
        }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_lowest_layers_are_frozen_and_with_them_the_embeddings(count, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of("modernbert", tmp_path, tiny_tokenizer)
    freeze_layers(encoder, count)
    for name, parameter in encoder.named_parameters():
        depth = depth_of_parameters(encoder)[name]
        assert parameter.requires_grad == (count == 0 or depth > count), name


def test_freezing_leaves_frozen_what_is_above(tiny_encoder):
    top = layers_of(tiny_encoder)[-1].requires_grad_(False)
    freeze_layers(tiny_encoder, 1)
    assert not any(parameter.requires_grad for parameter in top.parameters())


def test_a_frozen_layer_gets_no_gradient_and_a_higher_one_does(tiny_encoder):
    freeze_layers(tiny_encoder, 1)
    features = tiny_encoder.preprocess(["The river rises."])
    tiny_encoder(features)["sentence_embedding"].sum().backward()
    got = [any(one.grad is not None for one in layer.parameters()) for layer in layers_of(tiny_encoder)]
    assert got == [False, True]
    assert all(isinstance(one.grad, torch.Tensor) for one in layers_of(tiny_encoder)[1].parameters())


@pytest.mark.parametrize("count", [-1, 3])
def test_a_number_of_layers_that_the_encoder_does_not_have_is_refused(count, tiny_encoder):
    with pytest.raises(ConfigError, match=rf"^freeze_layers: expected a number of layers in 0 … 2, got {count}$"):
        freeze_layers(tiny_encoder, count)
