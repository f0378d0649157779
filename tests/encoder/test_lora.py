from __future__ import annotations

import copy
import re
import sys

import pytest
import torch
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as PEFT_DEFAULTS
from sentence_transformers.sentence_transformer.modules import Dense
from torch import nn

from tests.encoder.tiny_architectures import ARCHITECTURES, tiny_encoder_of
from textcl.encoder.layers import freeze_layers
from textcl.encoder.load import fingerprint_encoder, load_encoder, save_encoder
from textcl.encoder.lora import add_lora, has_lora, merge_lora
from textcl.errors import ConfigError, MissingExtraError

LAYERED = [kind for kind in ARCHITECTURES if kind not in ("albert", "xlm")]
TEXTS = ["The river rises in the northern hills.", "Bees find their way home."]
DEFAULTS = {
    "mpnet": ["q", "v"],
    "distilbert": ["q_lin", "v_lin"],
    "modernbert": ["Wqkv"],
}


def embed(encoder):
    return encoder(encoder.preprocess(TEXTS))["sentence_embedding"]


def adapted(encoder):
    """Names of the adapted layers, within the transformer."""
    names = [name for name, _one in encoder[0].auto_model.named_parameters() if ".lora_A." in name]
    return [name.partition(".lora_A.")[0] for name in names]


def train_a_little(encoder):
    """Move LoRA away from its beginning, where it changes nothing."""
    with torch.no_grad():
        for name, one in encoder.named_parameters():
            if ".lora_" in name:
                one.add_(0.3 * torch.randn(one.shape, generator=torch.Generator().manual_seed(len(name))))


@pytest.mark.parametrize("kind", LAYERED)
def test_lora_changes_nothing_until_it_is_trained_and_merging_keeps_the_vectors(kind, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    stock, before = [name for name, _one in encoder.named_parameters()], embed(encoder)
    add_lora(encoder, rank=2, alpha=4)
    assert torch.allclose(embed(encoder), before, atol=1e-6)
    train_a_little(encoder)
    trained = embed(encoder).detach()
    assert not torch.allclose(trained, before, atol=1e-4)
    merge_lora(encoder)
    assert torch.allclose(embed(encoder), trained, atol=1e-5)
    assert [name for name, _one in encoder.named_parameters()] == stock
    assert not any("lora" in type(module).__module__ for module in encoder.modules())


@pytest.mark.parametrize("kind", LAYERED)
def test_by_default_query_and_value_projections_of_every_layer_are_adapted(kind, tmp_path, tiny_tokenizer):
    encoder = tiny_encoder_of(kind, tmp_path, tiny_tokenizer)
    ends = DEFAULTS.get(kind) or PEFT_DEFAULTS[encoder[0].auto_model.config.model_type]
    expected = [
        name
        for name, module in encoder[0].auto_model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in ends
    ]
    add_lora(encoder, rank=1, alpha=1)
    assert adapted(encoder) == expected
    assert len(expected) == (2 if kind == "t5 of 2 layers" else 3) * len(ends)


@pytest.mark.parametrize(("rank", "alpha"), [(1, 1.0), (2, 8.0)])
def test_an_adapted_layer_adds_the_scaled_product(rank, alpha, tiny_encoder):
    add_lora(tiny_encoder, rank, alpha)
    train_a_little(tiny_encoder)
    layer = tiny_encoder[0].auto_model.encoder.layer[0].attention.self.query
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    assert (a.shape, b.shape) == ((rank, 32), (32, rank))
    x, plain = torch.randn(3, 32), layer.base_layer
    expected = x @ plain.weight.T + plain.bias + alpha / rank * (x @ a.T @ b.T)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    weight = plain.weight.detach() + alpha / rank * b @ a
    merge_lora(tiny_encoder)
    merged = tiny_encoder[0].auto_model.encoder.layer[0].attention.self.query
    assert merged is plain
    assert torch.allclose(merged.weight, weight, atol=1e-6)


def test_dropout_acts_on_the_product_while_training(tiny_model_folder):
    encoder = load_encoder(tiny_model_folder, dropout=0.0).train()
    add_lora(encoder, rank=2, alpha=4, dropout=0.5)
    train_a_little(encoder)
    assert not torch.equal(embed(encoder), embed(encoder))
    encoder.eval()
    assert torch.equal(embed(encoder), embed(encoder))
    calm = load_encoder(tiny_model_folder, dropout=0.0).train()
    add_lora(calm, rank=2, alpha=4)
    train_a_little(calm)
    assert torch.equal(embed(calm), embed(calm))


def test_targets_are_ends_of_names_of_linear_layers_within_the_layers(tiny_encoder):
    add_lora(tiny_encoder, rank=1, alpha=1, targets=["intermediate.dense", "key"])
    assert adapted(tiny_encoder) == [
        f"encoder.layer.{layer}.{name}" for layer in (0, 1) for name in ("attention.self.key", "intermediate.dense")
    ]


def test_the_pooler_that_no_embedding_uses_is_never_adapted(tiny_encoder):
    add_lora(tiny_encoder, rank=1, alpha=1, targets=["dense"])
    assert len(adapted(tiny_encoder)) == 6
    assert not any("pooler" in name for name in adapted(tiny_encoder))


def test_lora_alone_is_trained_and_merging_unfreezes_what_it_froze(tiny_encoder):
    tiny_encoder.append(Dense(32, 8))
    freeze_layers(tiny_encoder, 1)
    before = {name: one.requires_grad for name, one in tiny_encoder.named_parameters()}
    add_lora(tiny_encoder, rank=1, alpha=1)
    assert all(one.requires_grad == (".lora_" in name) for name, one in tiny_encoder.named_parameters())
    merge_lora(tiny_encoder)
    assert {name: one.requires_grad for name, one in tiny_encoder.named_parameters()} == before
    assert len(set(before.values())) == 2


def test_gradients_reach_both_matrices(tiny_encoder):
    add_lora(tiny_encoder, rank=1, alpha=1)
    train_a_little(tiny_encoder)
    embed(tiny_encoder).square().sum().backward()
    for name, one in tiny_encoder.named_parameters():
        assert (one.grad is not None and bool(one.grad.any())) == (".lora_" in name), name


@pytest.mark.parametrize("merge_first", ["copy", "original"])
def test_a_copy_has_its_own_lora(merge_first, tiny_encoder):
    add_lora(tiny_encoder, rank=2, alpha=4)
    train_a_little(tiny_encoder)
    twin, vectors = copy.deepcopy(tiny_encoder), embed(tiny_encoder).detach()
    assert torch.equal(embed(twin), vectors)
    merged, left = (twin, tiny_encoder) if merge_first == "copy" else (tiny_encoder, twin)
    merge_lora(merged)
    assert (has_lora(merged), has_lora(left)) == (False, True)
    assert torch.equal(embed(left), vectors)
    assert torch.allclose(embed(merged), vectors, atol=1e-5)
    assert all(one.requires_grad == (".lora_" in name) for name, one in left.named_parameters())


def test_the_state_goes_through_a_file(tiny_encoder, tiny_model_folder, tmp_path):
    add_lora(tiny_encoder, rank=2, alpha=4)
    train_a_little(tiny_encoder)
    torch.save(tiny_encoder.state_dict(), tmp_path / "state.pt")
    other = load_encoder(tiny_model_folder)
    add_lora(other, rank=2, alpha=4)
    assert not torch.allclose(embed(other), embed(tiny_encoder), atol=1e-4)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(embed(other), embed(tiny_encoder))


def test_a_merged_encoder_is_saved_like_any_other(tiny_encoder, tiny_model_folder, tmp_path):
    add_lora(tiny_encoder, rank=2, alpha=4)
    train_a_little(tiny_encoder)
    vectors = embed(tiny_encoder).detach()
    merge_lora(tiny_encoder)
    save_encoder(tiny_encoder, tmp_path)
    loaded = load_encoder(tmp_path)
    assert torch.allclose(embed(loaded), vectors, atol=1e-5)
    assert fingerprint_encoder(loaded) == fingerprint_encoder(tiny_encoder)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()} - {"manifest.json"}
    assert files == {path.name for path in tiny_model_folder.rglob("*") if path.is_file()}


def test_lora_can_be_added_again_after_a_merge_and_not_before(tiny_encoder):
    add_lora(tiny_encoder, rank=1, alpha=1)
    with pytest.raises(ConfigError, match=r"^lora: the encoder has LoRA already; merge it first$"):
        add_lora(tiny_encoder, rank=1, alpha=1)
    merge_lora(tiny_encoder)
    add_lora(tiny_encoder, rank=3, alpha=1)
    assert has_lora(tiny_encoder)


def test_merging_without_lora_does_nothing(tiny_encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    before = fingerprint_encoder(tiny_encoder)
    merge_lora(tiny_encoder)
    assert fingerprint_encoder(tiny_encoder) == before


def test_the_beginning_is_drawn_from_torch_s_generator(tiny_model_folder):
    states = []
    for seed in (1, 1, 2):
        encoder = load_encoder(tiny_model_folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_lora(encoder, rank=2, alpha=4)
        states.append(torch.cat([one.flatten() for name, one in encoder.named_parameters() if ".lora_" in name]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize("targets", [["key", "nothing"], ["uery"], [], ["LayerNorm"]])
def test_targets_that_name_no_linear_layer_are_refused_with_the_names_there_are(targets, tiny_encoder):
    before = fingerprint_encoder(tiny_encoder)
    message = f"targets: expected names of linear layers, such as query, key, value, dense, got {targets}"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        add_lora(tiny_encoder, rank=1, alpha=1, targets=targets)
    assert fingerprint_encoder(tiny_encoder) == before
    assert all(one.requires_grad for one in tiny_encoder.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, r"^rank: expected a rank of at least 1, got 0$"),
        ({"alpha": 0.0}, r"^alpha: expected a number above 0, got 0\.0$"),
        ({"alpha": float("inf")}, r"^alpha: expected a number above 0, got inf$"),
        ({"dropout": 1.0}, r"^dropout: expected a chance in \[0, 1\), got 1\.0$"),
        ({"dropout": -0.1}, r"^dropout: expected a chance in \[0, 1\), got -0\.1$"),
    ],
)
def test_a_number_out_of_range_is_refused(settings, message, tiny_encoder):
    with pytest.raises(ConfigError, match=message):
        add_lora(tiny_encoder, **{"rank": 1, "alpha": 1.0, **settings})


def test_without_peft_the_error_says_what_to_install(tiny_encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)  # so that Python finds no such package
    with pytest.raises(MissingExtraError, match=r"^LoRA needs an optional package: pip install 'textcl\[lora\]'$"):
        add_lora(tiny_encoder, rank=1, alpha=1)
    assert all(one.requires_grad for one in tiny_encoder.parameters())
