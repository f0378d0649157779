from __future__ import annotations

import fnmatch
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import huggingface_hub
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.utils import logging as transformers_logging

from tests.views.tiny_sequence_models import SENTENCES, save_marian_pair, save_t5
from textcl.errors import ArtifactError, ConfigError, MissingExtraError
from textcl.randomness import key_of
from textcl.views import model_files, sequence
from textcl.views.back_translation import BackTranslation
from textcl.views.sequence import Generation, GumbelNoise, SequenceModel

TEXTS = [*SENTENCES[:4], "Iron", "A river, and a mill by the river", SENTENCES[6]]
SAMPLING = {"sampling": True, "max_tokens": 16}


@pytest.fixture(scope="module")
def marian_pair(tmp_path_factory):
    """Folders of a translator from en to de, and of one from de to en."""
    return save_marian_pair(tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="module")
def marian(marian_pair):
    """Folder of the translator from en to de."""
    return marian_pair[0]


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """Folder of a T5."""
    return save_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture
def copied(marian, tmp_path):
    """A copy of the translator from en to de, that a test may change."""
    return Path(shutil.copytree(marian, tmp_path / "copied"))


def own_generate(folder, texts, returned=1, **options):
    """What transformers writes for each text when it is asked for one text at a time."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    model.generation_config.max_length = None  # or it warns that max_new_tokens goes before
    found = []
    for text in texts:
        inputs = tokenizer([text], return_tensors="pt")
        outputs = model.generate(**inputs, num_return_sequences=returned, **options)
        found.append(tokenizer.batch_decode(outputs, skip_special_tokens=True))
    return found


# What is written


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_greedy_output_is_what_transformers_writes_for_each_text_alone(marian):
    expected = own_generate(marian, TEXTS, do_sample=False, num_beams=1, max_new_tokens=50)
    assert SequenceModel(marian, max_tokens=50).translate(TEXTS) == expected
    assert len({found[0] for found in expected}) == len(TEXTS)


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
def test_beams_give_what_transformers_gives_best_first(marian):
    expected = own_generate(marian, TEXTS, returned=3, do_sample=False, num_beams=4, max_new_tokens=50)
    model = SequenceModel(marian, beams=4, max_tokens=50)
    assert model.translate(TEXTS, 3) == expected
    assert model.translate(TEXTS, 1) == [found[:1] for found in expected]
    assert all(len(set(found)) > 1 for found in expected)


@pytest.mark.parametrize(
    ("options", "variants"),
    [
        ({}, 1),
        ({"beams": 3}, 1),
        ({"beams": 3}, 2),
        ({"beams": 3}, 3),
        ({"sampling": True}, 1),
        ({"sampling": True}, 5),
    ],
)
def test_each_text_gets_exactly_the_variants_that_were_asked_for(marian, t5, options, variants):
    for folder in (marian, t5):
        found = SequenceModel(folder, max_tokens=12, **options).translate(TEXTS, variants)
        assert [len(one) for one in found] == [variants] * len(TEXTS)
        assert all(isinstance(text, str) for one in found for text in one)


@pytest.mark.parametrize(
    ("options", "variants"), [({}, 1), ({"beams": 3}, 2), (SAMPLING, 3), ({**SAMPLING, "top_k": 5, "top_p": 0.9}, 2)]
)
def test_no_row_depends_on_the_others_or_on_where_batches_are_cut(marian, t5, options, variants):
    for folder in (marian, t5):
        whole = SequenceModel(folder, **{"max_tokens": 30, **options}).translate(TEXTS, variants)
        for batch_tokens in (1, 150):
            model = SequenceModel(folder, **{"max_tokens": 30, "batch_tokens": batch_tokens, **options})
            assert model.translate(TEXTS, variants) == whole
        order = [5, 2, 2, 0, 6]
        assert model.translate([TEXTS[place] for place in order], variants) == [whole[place] for place in order]


@pytest.mark.parametrize(("options", "rows"), [({"beams": 3}, 3), ({"sampling": True}, 2)])
def test_a_batch_holds_no_more_padded_tokens_than_allowed_unless_it_is_one_row(marian, monkeypatch, options, rows):
    shapes, generate = [], transformers.MarianMTModel.generate
    monkeypatch.setattr(
        transformers.MarianMTModel,
        "generate",
        lambda model, **inputs: shapes.append(tuple(inputs["input_ids"].shape)) or generate(model, **inputs),
    )
    SequenceModel(marian, max_tokens=40, batch_tokens=150, **options).translate(TEXTS, 2)
    beams = options.get("beams", 1)
    assert all(count * beams * length <= 150 or count == 1 for count, length in shapes)
    assert sum(count for count, _length in shapes) * beams == rows * len(TEXTS)
    assert max(count for count, _length in shapes) > 1
    assert [length for _count, length in shapes] == sorted((length for _count, length in shapes), reverse=True)


def test_short_rows_count_for_the_room_that_their_output_takes(marian, monkeypatch):
    counts, generate = [], transformers.MarianMTModel.generate
    monkeypatch.setattr(
        transformers.MarianMTModel,
        "generate",
        lambda model, **inputs: counts.append(len(inputs["input_ids"])) or generate(model, **inputs),
    )
    SequenceModel(marian, max_tokens=5, batch_tokens=64, sampling=True).translate(["Iron"], 10)
    assert counts == [4, 4, 2]


@pytest.mark.parametrize("options", [{}, {"beams": 2}, {"sampling": True}])
def test_a_text_of_nothing_but_spaces_gives_empty_strings(marian, options):
    variants = 1 if not options else 2
    model = SequenceModel(marian, max_tokens=8, **options)
    found = model.translate(["", "Iron", " \n\t"], variants)
    assert found[0] == found[2] == [""] * variants
    assert found[1] == model.translate(["Iron"], variants)[0]
    assert model.translate([], variants) == []


def test_empty_texts_do_not_load_the_model(marian, monkeypatch):
    monkeypatch.setattr(SequenceModel, "_load", None)
    assert SequenceModel(marian, max_tokens=9).translate(["", " "]) == [[""], [""]]


def test_answers_are_the_callers_to_change(marian):
    model = SequenceModel(marian, max_tokens=8)
    first, second = model.translate(["Iron", "Iron"])
    first.append("more")
    assert len(second) == 1


def test_the_prompt_stands_before_each_text(t5):
    options = {"max_tokens": 40}
    prompted = SequenceModel(t5, prompt="ask: ", **options).translate(["The river", "Wheat"])
    assert prompted == SequenceModel(t5, **options).translate(["ask: The river", "ask: Wheat"])
    assert prompted != SequenceModel(t5, **options).translate(["The river", "Wheat"])
    assert SequenceModel(t5, prompt="ask: ").translate(["", " "]) == [[""], [""]]


def test_max_tokens_cuts_the_input_and_the_output(t5):
    model = SequenceModel(t5, max_tokens=6)  # five characters and the end
    assert model.translate(["The river rises"]) == model.translate(["The rain"])
    assert model.translate(["The river rises"]) != model.translate(["Iron rusts"])
    assert len(model.translate(["Iron"])[0][0]) <= 6 < len(SequenceModel(t5, max_tokens=20).translate(["Iron"])[0][0])


def test_texts_that_were_cut_are_counted_and_those_that_just_fit_are_not(t5):
    model = SequenceModel(t5, max_tokens=6)
    model.translate(["Irons", "Iron", "a"])  # five characters and the end fit
    assert model.notes == []
    model.translate(["The river rises", "The rain", "Iron"])
    assert model.notes == ["2 texts were cut at 6 tokens (max_tokens)"]
    assert Generation(model).notes == model.notes


def test_bf16_runs_in_bf16(marian):
    model = SequenceModel(marian, precision="bf16", max_tokens=60)
    assert model._load()[1].dtype == torch.bfloat16
    found = model.translate(SENTENCES)
    assert all(one[0] for one in found)
    assert found != SequenceModel(marian, max_tokens=60).translate(SENTENCES)


@pytest.mark.gpu
def test_a_gpu_draws_what_the_cpu_draws(marian):
    found = [SequenceModel(marian, device=device, **SAMPLING).translate(TEXTS, 2) for device in ("cpu", "cuda")]
    assert found[0] == found[1]


def test_a_closed_model_is_loaded_again_by_the_next_text(marian):
    model = SequenceModel(marian, max_tokens=8)
    first = model.translate(["Iron"])
    model.close()
    assert model._loaded is None
    assert model.translate(["Iron"]) == first


def test_the_model_is_loaded_by_the_first_text_and_once(marian, monkeypatch):
    loads, load = [], transformers.AutoModelForSeq2SeqLM.from_pretrained
    monkeypatch.setattr(
        transformers.AutoModelForSeq2SeqLM, "from_pretrained", lambda *a, **k: loads.append(1) or load(*a, **k)
    )
    model = SequenceModel(marian, max_tokens=8)
    assert (model.source, model.target, bool(model.facts), loads) == ("en", "de", True, [])
    model.translate(["Iron"])
    model.translate(["Wheat"])
    assert loads == [1]


# Sampling


def test_samples_differ_by_seed_text_and_variant(marian):
    model = SequenceModel(marian, **SAMPLING)
    first, second = model.translate(["Iron", "Iron "], 20)  # the same tokens, but not the same text
    assert len(set(first)) > 15
    assert len(set(second) - set(first)) > 15
    assert SequenceModel(marian, seed=1, **SAMPLING).translate(["Iron"], 20)[0] != first
    assert SequenceModel(marian, **SAMPLING).translate(["Iron"], 20)[0] == first


def test_a_draw_does_not_depend_on_how_many_are_asked_for(marian):
    model = SequenceModel(marian, **SAMPLING)
    assert [found[:2] for found in model.translate(TEXTS, 5)] == model.translate(TEXTS, 2)


def test_a_temperature_near_0_or_one_token_to_draw_from_is_greedy(marian):
    greedy = SequenceModel(marian, max_tokens=30).translate(TEXTS)
    for options in ({"temperature": 1e-4}, {"top_k": 1}, {"top_p": 1e-6}):
        found = SequenceModel(marian, sampling=True, max_tokens=30, **options).translate(TEXTS, 2)
        assert found == [one * 2 for one in greedy]


@pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.4}, {"temperature": 3.0}, {"top_k": 3}, {"top_p": 0.6}, {"temperature": 2.0, "top_p": 0.8}],
)
def test_the_first_token_is_drawn_from_the_models_softmax(marian, options):
    count = 2000
    model = SequenceModel(marian, sampling=True, max_tokens=2, batch_tokens=10**6, **options)  # the second one ends it
    drawn = Counter(model.translate(["The"], count)[0])
    expected = first_token_chances(marian, "The", **options)
    assert set(drawn) <= {text for text, chance in expected.items() if chance > 0}
    for text, chance in expected.items():
        assert drawn[text] / count == pytest.approx(chance, abs=5 * (chance * (1 - chance) / count) ** 0.5 + 1e-3)


def first_token_chances(folder, text, temperature=1.0, top_k=None, top_p=1.0):
    """The chance of each text of one token, by the definitions of temperature, top-k and top-p."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    inputs = tokenizer([text], truncation=True, max_length=2, return_tensors="pt")
    padding = model.config.pad_token_id
    with torch.no_grad():
        logits = model(**inputs, decoder_input_ids=torch.tensor([[padding]])).logits[0, 0] / temperature
    logits[padding] = -torch.inf  # forbidden by the generation settings
    chances = logits.softmax(0).tolist()
    order = sorted(range(len(chances)), key=lambda token: -chances[token])[:top_k]
    kept, mass = [], 0.0
    for token in order:
        if mass < top_p:
            kept.append(token)
        mass += chances[token]
    found = Counter()
    for token in kept:
        found[tokenizer.decode([token, 0], skip_special_tokens=True)] += chances[token]
    return {text: chance / sum(found.values()) for text, chance in found.items()}


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [1.0, -0.5, 2.0, 0.3, -torch.inf], [8.0, 0.0]])
def test_the_largest_sum_of_logit_and_noise_is_drawn_from_the_softmax(logits):
    count = 20_000
    noise = GumbelNoise(list(range(count)))
    scores = torch.tensor([logits]).expand(count, -1)
    chances = torch.tensor(logits).softmax(0).double()
    for _step in range(2):
        shares = noise(torch.zeros(count, 1), scores).argmax(1).bincount(minlength=len(logits)) / count
        assert (shares - chances).abs().le(5 * (chances * (1 - chances) / count).sqrt()).all()


def test_the_noise_of_a_row_depends_on_its_key_and_the_step_alone():
    scores = torch.zeros(3, 50)
    together, alone = GumbelNoise([1, 2**64 - 1, 3]), GumbelNoise([2**64 - 1])
    steps = [(together(scores, scores), alone(scores[:1], scores[:1])) for _step in range(3)]
    for rows, row in steps:
        assert rows[1].equal(row[0])
        assert not rows[0].equal(rows[1])
        assert rows.isfinite().all()
    assert not steps[0][1].equal(steps[1][1])


def test_the_keys_of_a_draw_are_its_seed_text_and_variant(marian, monkeypatch):
    seen = []
    monkeypatch.setattr(sequence, "GumbelNoise", lambda keys: seen.extend(keys) or GumbelNoise(keys))
    SequenceModel(marian, seed=7, **SAMPLING).translate(["Iron"], 2)
    assert seen == [key_of(7, "sample", "Iron", 0), key_of(7, "sample", "Iron", 1)]


@pytest.mark.parametrize("options", [{}, {"beams": 2}, {"sampling": True}])
def test_nobodys_random_numbers_are_moved(marian, options):
    before = torch.random.get_rng_state()
    SequenceModel(marian, max_tokens=8, **options).translate(TEXTS)
    assert torch.random.get_rng_state().equal(before)


# Settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ""}, r"^model: expected a folder or a hub name, got ''$"),
        ({"precision": "fp16"}, r"^precision: expected one of fp32, bf16, got 'fp16'$"),
        ({"beams": 0}, r"^beams: expected a whole number above 0, got 0$"),
        ({"temperature": 0.0}, r"^temperature: expected a number above 0, got 0.0$"),
        ({"temperature": float("nan")}, r"^temperature: expected a number above 0, got nan$"),
        ({"temperature": float("inf")}, r"^temperature: expected a number above 0, got inf$"),
        ({"top_k": -1}, r"^top_k: expected a whole number of at least 0, got -1$"),
        ({"top_p": 0.0}, r"^top_p: expected a share in \(0, 1\], got 0.0$"),
        ({"top_p": 1.1}, r"^top_p: expected a share in \(0, 1\], got 1.1$"),
        ({"max_tokens": 1}, r"^max_tokens: expected a number of tokens, at least 2, got 1$"),
        ({"max_tokens": 65}, r"^max_tokens: expected at most 64, what the model has positions for, got 65$"),
        ({"batch_tokens": 0}, r"^batch_tokens: expected a number of tokens above 0, got 0$"),
        ({"device": "warp"}, r"^device: expected a device of torch, such as cpu or cuda, got 'warp'$"),
        ({"device": "cuda:0"}, r"^device: expected cpu, since there is no GPU, got 'cuda:0'$"),
        ({"sampling": True, "beams": 4}, r"^sampling: draws one token at a time, so set beams to 1, not 4$"),
    ],
)
def test_a_setting_out_of_range_is_refused_at_once(marian, monkeypatch, options, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        SequenceModel(**{"model": marian, "max_tokens": 64, **options})


def test_variants_that_cannot_be_had_are_refused_before_anything_is_loaded(marian, monkeypatch):
    monkeypatch.setattr(SequenceModel, "_load", None)
    message = r"^variants: expected at most 2, the number of beams; raise beams, or set sampling, got 3$"
    model = SequenceModel(marian, max_tokens=64, beams=2)
    with pytest.raises(ConfigError, match=message):
        model.translate(["Iron"], 3)
    with pytest.raises(ConfigError, match=message):
        Generation(model, variants=3)
    with pytest.raises(ConfigError, match=r"^variants: expected a whole number above 0, got 0$"):
        model.translate(["Iron"], 0)


def test_a_t5_has_no_limit_of_positions(t5):
    assert SequenceModel(t5, max_tokens=5000).max_tokens == 5000


# Finding the model


def test_a_folder_that_is_not_there_is_an_error_at_once(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for model in (tmp_path / "nothing", str(tmp_path / "nothing"), file, "./nothing", "a/b/c"):
        with pytest.raises(ArtifactError, match=r": no such folder$"):
            SequenceModel(model)


def test_a_hub_name_that_cannot_be_had_is_an_error_at_once():
    message = r"^nobody/nothing: cannot be had: .+; give a folder, or fetch it where there is network$"
    with pytest.raises(ArtifactError, match=message) as caught:
        SequenceModel("nobody/nothing")
    assert "\n" not in str(caught.value)


def test_a_hub_name_is_found_among_what_was_fetched_before(marian):
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--tests--tiny-marian"
    snapshot = cache / "snapshots" / ("0" * 40)
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("0" * 40)
    shutil.copytree(marian, snapshot)
    try:
        found, local = SequenceModel("tests/tiny-marian", max_tokens=9), SequenceModel(marian, max_tokens=9)
        assert found.translate(TEXTS) == local.translate(TEXTS)
        assert found.facts == local.facts
    finally:
        shutil.rmtree(cache)


@pytest.mark.parametrize("old", [False, True])
def test_only_what_is_needed_is_fetched(copied, tmp_path, monkeypatch, old):
    names = {path.name for path in copied.iterdir()}
    others = {"README.md", "tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.onnx", "training_args.bin"}
    for name in others:
        (copied / name).touch()
    (copied / "onnx").mkdir()
    (copied / "onnx" / "config.json").touch()
    (copied / "pytorch_model.bin").touch()
    if old:
        (copied / "model.safetensors").unlink()
        names = names - {"model.safetensors"} | {"pytorch_model.bin"}
    fetched = tmp_path / "fetched"
    fetched.mkdir()

    def download(name, allow_patterns, ignore_patterns):
        for path in copied.rglob("*"):
            inside = path.relative_to(copied).as_posix()
            wanted, unwanted = (
                any(fnmatch.fnmatch(inside, pattern) for pattern in patterns)
                for patterns in (allow_patterns, ignore_patterns)
            )
            if path.is_file() and wanted and not unwanted:
                shutil.copy(path, fetched / path.name)
        return str(fetched)

    monkeypatch.setattr(model_files, "snapshot_download", download)
    SequenceModel("some/translator", max_tokens=9)
    assert {path.name for path in fetched.iterdir()} == names


def test_a_folder_without_a_usable_config_is_named(copied, tiny_hf_folder, tmp_path):
    with pytest.raises(ArtifactError, match=r": is no model of Hugging Face: config.json is missing$"):
        SequenceModel(tmp_path)
    with pytest.raises(ArtifactError, match=r": is no encoder-decoder model of texts but a bert$"):
        SequenceModel(tiny_hf_folder)
    (copied / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"^\S+copied: its config.json cannot be read: .+$"):
        SequenceModel(copied)


def test_a_folder_without_weights_is_named(copied):
    (copied / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r": has no weights: neither model.safetensors nor pytorch_model.bin$"):
        SequenceModel(copied)


def test_a_damaged_tokenizer_config_is_named(copied):
    (copied / "tokenizer_config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"tokenizer_config.json: cannot be read: .+$"):
        SequenceModel(copied, max_tokens=9)


def test_damaged_weights_are_named_when_they_are_loaded(copied):
    weights = load_file(copied / "model.safetensors")
    left_out = {name: tensor for name, tensor in weights.items() if name != "model.encoder.layers.0.fc1.weight"}
    save_file(left_out, copied / "model.safetensors", metadata={"format": "pt"})
    message = r"copied: is damaged: no weights for model.encoder.layers.0.fc1.weight$"
    with pytest.raises(ArtifactError, match=message):
        SequenceModel(copied, max_tokens=9).translate(["Iron"])
    (copied / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ArtifactError, match=r"copied: cannot be loaded: .+$"):
        SequenceModel(copied, max_tokens=9).translate(["Iron"])


def test_weights_of_the_old_format_are_read_and_digested(copied, marian):
    weights = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    model = SequenceModel(copied, max_tokens=20)
    facts = model.facts
    assert model.translate(TEXTS) == SequenceModel(marian, max_tokens=20).translate(TEXTS)
    weights["final_logits_bias"][0, 3] += 1
    torch.save(weights, copied / "pytorch_model.bin")
    assert SequenceModel(copied, max_tokens=20).facts != facts


def test_a_missing_sentencepiece_is_named_at_once_where_the_tokenizer_needs_it(marian, t5, copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    message = r"^the tokenizer of \S+ needs an optional package: pip install 'textcl\[translation\]'$"
    with pytest.raises(MissingExtraError, match=message):
        SequenceModel(marian, max_tokens=9)
    pretend_t5 = shutil.copytree(t5, copied / "t5")
    assert SequenceModel(pretend_t5).source is None
    (pretend_t5 / "tokenizer.json").rename(pretend_t5 / "spiece.model")
    with pytest.raises(MissingExtraError, match=message):
        SequenceModel(pretend_t5)


def test_sacremoses_is_not_needed_and_nothing_is_said(marian, monkeypatch, capfd, recwarn):
    with_it = SequenceModel(marian, max_tokens=20).translate(TEXTS)
    monkeypatch.setitem(sys.modules, "sacremoses", None)
    transformers_logging.enable_progress_bar()
    try:
        assert SequenceModel(marian, max_tokens=20).translate(TEXTS) == with_it
        assert transformers_logging.is_progress_bar_enabled()
    finally:
        transformers_logging.disable_progress_bar()
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_languages_come_from_the_tokenizers_settings(marian_pair, t5, copied):
    assert [(model.source, model.target) for model in map(short_model, (*marian_pair, t5))] == [
        ("en", "de"),
        ("de", "en"),
        (None, None),
    ]
    (copied / "tokenizer_config.json").unlink()
    assert (short_model(copied).source, short_model(copied).target) == (None, None)


def short_model(folder, **options):
    return SequenceModel(folder, max_tokens=20, **options)


# Facts


def test_facts_are_plain_json_and_hold_what_was_set(marian):
    facts = short_model(marian, prompt="p", beams=2).facts
    assert json.loads(json.dumps(facts)) == facts
    rest = {key: value for key, value in facts.items() if key != "model"}
    assert rest == {"prompt": "p", "precision": "fp32", "beams": 2, "max_tokens": 20, "sampling": False}
    assert len(facts["model"]) == 32


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"prompt": "a "}),
        ({}, {"precision": "bf16"}),
        ({}, {"beams": 2}),
        ({}, {"max_tokens": 21}),
        ({}, {"sampling": True}),
        ({"sampling": True}, {"seed": 1}),
        ({"sampling": True}, {"temperature": 0.5}),
        ({"sampling": True}, {"top_k": 5}),
        ({"sampling": True}, {"top_p": 0.5}),
    ],
)
def test_every_setting_that_decides_the_output_is_in_the_facts_and_decides_it(marian, base, change):
    first, second = (SequenceModel(marian, **{"max_tokens": 20, **options}) for options in (base, {**base, **change}))
    assert first.facts != second.facts
    assert first.translate(SENTENCES) != second.translate(SENTENCES)


def test_what_decides_nothing_is_not_in_the_facts(marian, copied):
    facts = short_model(marian).facts
    unused = {"seed": 5, "temperature": 2.0, "top_k": 3, "top_p": 0.5}
    assert short_model(marian, device="cpu", batch_tokens=50, **unused).facts == facts
    (copied / "README.md").write_text("a translator")
    (copied / "pytorch_model.bin").write_text("not read where there is a safetensors file")
    assert short_model(str(copied)).facts == facts


def test_weights_tokenizer_and_settings_of_the_model_are_in_the_facts(copied):
    seen = [short_model(copied).facts["model"]]
    weights = load_file(copied / "model.safetensors")
    weights["model.decoder.layers.0.fc1.weight"][0, 0] += 1
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    seen.append(short_model(copied).facts["model"])
    for name in ("config.json", "generation_config.json", "tokenizer_config.json", "vocab.json", "source.spm"):
        with (copied / name).open("ab") as file:
            file.write(b" ")
        seen.append(short_model(copied).facts["model"])
    assert len(set(seen)) == len(seen)


# As rewriters


def test_a_pair_of_translators_goes_there_and_back(marian_pair):
    there, back = map(short_model, marian_pair)
    view = BackTranslation(there, back)
    found = view.rewrite([*TEXTS, " "])
    assert found == [[text] for [text] in back.translate([text for [text] in there.translate(TEXTS)])] + [[]]
    assert (view.facts["there"], view.facts["back"]) == (there.facts, back.facts)
    view.close()
    assert there._loaded is back._loaded is None


def test_languages_that_do_not_meet_are_refused(marian):
    with pytest.raises(ConfigError, match=r"^back: the languages do not meet, en is not de: "):
        BackTranslation(short_model(marian), short_model(marian))


def test_generation_returns_different_texts_without_empty_ones(t5):
    model = SequenceModel(t5, prompt="ask: ", **SAMPLING)
    view = Generation(model, variants=6)
    found = view.rewrite([*TEXTS, ""])
    assert found[-1] == []
    for texts, drawn in zip(found, model.translate(TEXTS, 6), strict=False):
        assert 1 < len(texts) == len(set(texts)) <= 6
        assert set(texts) <= {text.strip() for text in drawn}
    assert view.facts == {"view": "generate", "model": model.facts, "variants": 6}
    assert Generation(model, variants=5).facts != view.facts
    view.close()
    assert model._loaded is None
