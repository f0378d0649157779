from __future__ import annotations

import time
from contextlib import contextmanager

import pytest
from transformers import MPNetConfig, MPNetModel

from tests.methods.batches import make_batch
from tests.training.pairs import new_simclr, new_trainer, pair_source
from textcl.encoder.work import work_of
from textcl.training.journal import read_journal
from textcl.training.meter import Meter, in_words

PAIRS = (["the river rises", "bees", "a hive may hold forty thousand"], ["hills", "of stone and wood", "bees"])


@pytest.fixture
def method(tiny_model_folder):
    return new_simclr(tiny_model_folder)


def read_after(meter, batches, seconds=0.0):
    """Return the reading behind steps on batches that take so long."""
    for one in meter.watched([batch] for batch in batches):
        time.sleep(seconds)
        meter.add(one)
    meter.pause()
    return meter.read()


def test_pairs_tokens_and_operations_are_those_of_the_batches(method):
    batch = make_batch(method.encoder, *PAIRS)
    found = read_after(Meter(method, processes=3, peak_flops=1e6), [batch, batch])
    tokens = int(batch.tokens.lengths.sum())
    assert found["speed/tokens_per_s"] / found["speed/pairs_per_s"] == pytest.approx(tokens / 3)
    flop_per_token = work_of(method.encoder).training(batch.tokens.lengths) / tokens
    assert found["speed/peak_fraction"] * 1e6 == pytest.approx(flop_per_token * found["speed/tokens_per_s"])
    assert found["speed/padding_fraction"] == 0


def test_an_encoder_that_runs_padded_is_said_to_pad(method):
    method.encoder[0].model = MPNetModel(
        MPNetConfig(vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    )
    batch = make_batch(method.encoder, ["bees"] * 2, ["a bridge of stone", "a bridge of stone a"])
    lengths = sorted(batch.tokens.lengths.tolist())
    assert lengths[-1] > lengths[-2]
    assert 0 < read_after(Meter(method), [batch])["speed/padding_fraction"] < 0.3


def test_time_without_data_is_waiting_and_time_in_a_pause_is_none(method):
    batch = make_batch(method.encoder, *PAIRS)

    def slow():
        for _ in range(3):
            time.sleep(0.02)
            yield batch

    meter = Meter(method)
    assert read_after(meter, slow(), seconds=0.02)["speed/waiting_fraction"] == pytest.approx(0.5, abs=0.2)
    quick = read_after(meter, [batch] * 3, seconds=0.02)
    assert quick["speed/waiting_fraction"] < 0.2
    time.sleep(0.3)
    meter.go_on()
    assert read_after(meter, [batch] * 3, seconds=0.02)["speed/pairs_per_s"] > 0.4 * quick["speed/pairs_per_s"]


def test_nothing_is_read_twice(method):
    meter = Meter(method)
    assert read_after(meter, [make_batch(method.encoder, *PAIRS)])
    assert meter.read() == {}


def test_a_run_says_its_speed_where_it_logs_and_beside_its_bar(tiny_model_folder, tiny_corpus, tmp_path):
    method, notes = new_simclr(tiny_model_folder), []
    trainer = new_trainer(
        method, pair_source(method.encoder, tiny_corpus[:18]), tmp_path / "run", steps=5, log_every=2, peak_flops=1e9
    )

    @contextmanager
    def progress(description, total):
        yield lambda units, note="": notes.append((units, note))

    trainer.train(progress=progress)
    lines = [line for line in read_journal(tmp_path / "run" / "journal.jsonl") if line["name"].startswith("speed/")]
    assert sorted({line["name"] for line in lines}) == [
        "speed/padding_fraction", "speed/pairs_per_s", "speed/peak_fraction", "speed/tokens_per_s",
        "speed/waiting_fraction",
    ]  # fmt: skip
    assert [line["step"] for line in lines if line["name"] == "speed/pairs_per_s"] == [2, 4, 5]
    assert sum(units for units, _ in notes) == 5
    assert len([note for _, note in notes if "tok/s · 0 % padding" in note]) == 3


def test_a_reading_in_words():
    speed = {
        "speed/tokens_per_s": 1370.4, "speed/padding_fraction": 0.0, "speed/waiting_fraction": 0.021,
        "speed/peak_fraction": 0.544,
    }  # fmt: skip
    assert in_words(speed) == "1,370 tok/s · 0 % padding · 2 % waiting · 54 % of peak"
    assert in_words({}) == ""
