"""Each loss trains in the stock trainer of sentence-transformers."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments

from textcl.encoder.load import load_encoder
from textcl.errors import ConfigError
from textcl.losses import (
    BarlowTwins,
    InfoNCE,
    Learned,
    Matryoshka,
    NegativeCosine,
    Scheduled,
    Sigmoid,
    SimilarityDistillation,
    StockTrainerLoss,
    TemperatureCallback,
    Uniformity,
    VICReg,
)

LOSSES = {
    "info_nce": (InfoNCE(Learned(0.1)), 4),
    "sigmoid": (Sigmoid(bias=-2.0), 3),
    "negative_cosine": (NegativeCosine(), 2),
    "barlow_twins": (BarlowTwins(), 2),
    "vicreg": (VICReg(), 2),
    "uniformity": (Uniformity(), 1),
    "distillation": (SimilarityDistillation(), 2),
    "matryoshka": (Matryoshka(InfoNCE(Learned(0.1)), [8, 32]), 3),
    "matryoshka of all rows": (Matryoshka(Uniformity(), [8, 32]), 2),
}


def stock_train(loss, corpus, columns, folder, steps=3, callbacks=()):
    """Run the stock trainer on `columns` text columns for some steps of four rows."""
    rows = [corpus[place : place + columns] for place in range(0, 12)]
    table = {f"{name}_text": [row[place] for row in rows] for place, name in enumerate("abcd"[:columns])}
    settings = {"save_strategy": "no", "logging_strategy": "no", "report_to": "none", "disable_tqdm": True}
    settings |= {"use_cpu": True, "dataloader_pin_memory": False, "max_steps": steps, "learning_rate": 1e-3}
    arguments = SentenceTransformerTrainingArguments(str(folder), per_device_train_batch_size=4, **settings)
    trainer = SentenceTransformerTrainer(
        loss.model, arguments, Dataset.from_dict(table), loss=loss, callbacks=list(callbacks)
    )
    trainer.train()
    return trainer


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before, module):
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_trains_the_encoder_and_what_it_owns(name, tiny_encoder, tiny_model_folder, tiny_corpus, tmp_path):
    loss, columns = copy.deepcopy(LOSSES[name])
    frozen = None
    if name == "distillation":
        frozen = load_encoder(tiny_model_folder)
        with torch.no_grad():  # the same weights would leave nothing to learn but dropout's noise
            for parameter in tiny_encoder.parameters():
                parameter.mul_(1.2)
    adapter = StockTrainerLoss(tiny_encoder, loss, frozen)
    before, owned = state(tiny_encoder), state(loss)
    kept = {} if frozen is None else state(frozen)
    stock_train(adapter, tiny_corpus, columns, tmp_path)
    moved = changed(before, tiny_encoder)
    assert any("word_embeddings" in name for name in moved)
    assert any("layer.1" in name for name in moved)
    assert all(value.isfinite().all() for value in tiny_encoder.state_dict().values())
    assert changed(owned, loss) == {name for name, _parameter in loss.named_parameters()}
    if frozen is not None:
        assert not changed(kept, frozen)
        assert not frozen.training
        assert tiny_encoder.training


def test_scheduled_temperatures_follow_the_run(tiny_encoder, tiny_corpus, tmp_path):
    schedule = Scheduled(0.1, 0.5)
    seen = []
    schedule.register_forward_hook(lambda _module, _given, now: seen.append(now))
    loss = StockTrainerLoss(tiny_encoder, InfoNCE(schedule))
    stock_train(loss, tiny_corpus, 2, tmp_path, steps=4, callbacks=[TemperatureCallback(loss)])
    assert seen == pytest.approx([0.1, 0.2, 0.3, 0.4])


def features_of(encoder, *columns):
    return [encoder.tokenize(list(texts)) for texts in columns]


def test_a_contrastive_loss_gets_anchor_positive_and_all_hard_negatives(tiny_encoder, tiny_corpus):
    columns = [tiny_corpus[:3], tiny_corpus[3:6], tiny_corpus[6:9], tiny_corpus[9:12]]
    anchor, positive, *hard = (tiny_encoder.encode(texts, convert_to_tensor=True) for texts in columns)
    loss = InfoNCE(0.1)
    found = StockTrainerLoss(tiny_encoder, loss).eval()
    expected = loss(anchor, positive, torch.cat(hard))
    assert found(features_of(tiny_encoder, *columns), None).item() == pytest.approx(expected.item(), rel=1e-5)
    expected = loss(anchor, positive)
    assert found(features_of(tiny_encoder, *columns[:2])).item() == pytest.approx(expected.item(), rel=1e-5)


def test_uniformity_is_the_mean_over_columns_so_that_no_row_meets_its_own_pair(tiny_encoder, tiny_corpus):
    columns = [tiny_corpus[:3], tiny_corpus[3:6], tiny_corpus[6:9]]
    alone = [Uniformity()(tiny_encoder.encode(texts, convert_to_tensor=True)).item() for texts in columns]
    found = StockTrainerLoss(tiny_encoder, Uniformity()).eval()(features_of(tiny_encoder, *columns))
    assert found.item() == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_distillation_holds_the_trained_encoder_against_the_frozen_one(tiny_encoder, tiny_model_folder, tiny_corpus):
    frozen = load_encoder(tiny_model_folder)
    with torch.no_grad():
        next(tiny_encoder.parameters()).mul_(3)
    columns = [tiny_corpus[:3], tiny_corpus[3:6]]
    trained, kept = (
        torch.cat([encoder.encode(texts, convert_to_tensor=True) for texts in columns])
        for encoder in (tiny_encoder, frozen)
    )
    for loss, width in ((SimilarityDistillation(), 32), (Matryoshka(SimilarityDistillation(), [8]), 8)):
        adapter = StockTrainerLoss(tiny_encoder, loss, frozen).eval()
        found = adapter(features_of(tiny_encoder, *columns))
        assert found.item() == pytest.approx(SimilarityDistillation()(trained[:, :width], kept).item(), rel=1e-4)
        assert found.item() > 0.01


def test_the_frozen_encoder_is_neither_trained_nor_taken_for_the_model(tiny_encoder, tiny_model_folder):
    frozen = load_encoder(tiny_model_folder).train()
    adapter = StockTrainerLoss(tiny_encoder, SimilarityDistillation(), frozen)
    assert not frozen.training
    adapter.train()
    assert tiny_encoder.training
    assert not frozen.training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    encoders = [name for name, child in adapter.named_modules() if isinstance(child, SentenceTransformer)]
    assert encoders == ["model", "frozen"]


def test_the_features_stay_as_they_are(tiny_encoder, tiny_corpus):
    features = features_of(tiny_encoder, tiny_corpus[:3])
    names = set(features[0])
    StockTrainerLoss(tiny_encoder, Uniformity())(features)
    assert set(features[0]) == names


@pytest.mark.parametrize(
    ("loss", "columns", "message"),
    [
        (InfoNCE(), 1, r"^columns: expected at least 2 text columns, anchor and positive, got 1$"),
        (Matryoshka(Sigmoid(), [2]), 1, r"^columns: expected at least 2 text columns, anchor and positive, got 1$"),
        (NegativeCosine(), 3, r"^columns: expected 2 text columns, got 3$"),
        (VICReg(), 1, r"^columns: expected 2 text columns, got 1$"),
    ],
)
def test_another_number_of_columns_is_refused(loss, columns, message, tiny_encoder, tiny_corpus):
    adapter = StockTrainerLoss(tiny_encoder, loss)
    with pytest.raises(ConfigError, match=message):
        adapter(features_of(tiny_encoder, *([tiny_corpus[:3]] * columns)))


def test_a_frozen_encoder_that_does_not_fit_is_refused(tiny_encoder, tiny_model_folder):
    frozen = load_encoder(tiny_model_folder)
    with pytest.raises(ConfigError, match=r"^frozen: SimilarityDistillation needs the encoder whose similarities"):
        StockTrainerLoss(tiny_encoder, SimilarityDistillation())
    with pytest.raises(ConfigError, match=r"^frozen: only SimilarityDistillation takes a frozen encoder$"):
        StockTrainerLoss(tiny_encoder, InfoNCE(), frozen)
    with pytest.raises(ConfigError, match=r"^frozen: this is the trained encoder itself; give a copy of it$"):
        StockTrainerLoss(tiny_encoder, SimilarityDistillation(), tiny_encoder)
    frozen.tokenizer.add_tokens(["quokka"])
    with pytest.raises(ConfigError, match=r"^frozen: its tokenizer is another than the trained encoder's$"):
        StockTrainerLoss(tiny_encoder, SimilarityDistillation(), frozen)


def test_losses_on_plain_tensors_take_no_transformers():
    code = "import sys, textcl.losses; print('transformers' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_an_unknown_name_is_an_attribute_error():
    import textcl.losses

    with pytest.raises(AttributeError, match=r"^module 'textcl\.losses' has no attribute 'InfoNCe'$"):
        _ = textcl.losses.InfoNCe
