"""Encoder-decoder models of a few thousand weights, made on the spot: a pair of Marian translators and a T5."""

from __future__ import annotations

import io
import json
import warnings

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

SENTENCES = """
The river rises in the northern hills and flows south.
A small bridge of stone crosses the river near the old mill.
Bees find their way home by the position of the sun.
Iron rusts when water and air reach it together.
Wheat is sown in autumn and cut in the summer after.
The train leaves the city at nine and reaches the coast at noon.
Der Fluss entspringt im Norden und fließt nach Süden.
Eine kleine Brücke aus Stein führt bei der alten Mühle über den Fluss.
Bienen finden nach dem Stand der Sonne heim.
Eisen rostet, wenn Wasser und Luft zusammenkommen.
""".strip().splitlines()

SMALL_MARIAN = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "scale_embedding": True,
    "activation_function": "swish",
    "init_std": 0.4,  # wide, so that texts differ by far more than rounding
}


def save_marian_pair(folder):
    """Save the translators `folder`/there (en to de) and `folder`/back (de to en), and return both folders."""
    spm = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=spm, vocab_size=90, bos_id=-1, minloglevel=2
    )
    there, back = folder / "there", folder / "back"
    save_marian(there, spm.getvalue(), "en", "de", seed=1)
    save_marian(back, spm.getvalue(), "de", "en", seed=2)
    return there, back


def save_marian(folder, spm, source, target, seed):
    """Save a translator with settings such as the opus-mt models have: 6 beams, and the padding forbidden."""
    folder.mkdir(parents=True)
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(spm)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=spm)
    names = [pieces.id_to_piece(number) for number in range(pieces.get_piece_size())]
    names = ["</s>", "<unk>", *(name for name in names if name not in ("</s>", "<unk>")), "<pad>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to install sacremoses
        tokenizer = MarianTokenizer(
            str(folder / "source.spm"),
            str(folder / "target.spm"),
            str(folder / "vocab.json"),
            source_lang=source,
            target_lang=target,
        )
    tokenizer.save_pretrained(folder)
    padding = vocabulary["<pad>"]
    ids = {"pad_token_id": padding, "decoder_start_token_id": padding, "eos_token_id": 0, "forced_eos_token_id": 0}
    config = MarianConfig(vocab_size=len(vocabulary), **ids, **SMALL_MARIAN)
    model = seeded(MarianMTModel, config, seed)
    model.generation_config.update(num_beams=6, bad_words_ids=[[padding]], max_length=60, **ids)
    model.save_pretrained(folder)


def save_t5(folder):
    """Save a T5 with a fast tokenizer of single characters, and return its folder."""
    characters = sorted({character for sentence in SENTENCES for character in sentence} | {":", "?"})
    vocabulary = {name: number for number, name in enumerate(["<pad>", "</s>", "<unk>", *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        initializer_factor=2.0,
    )
    seeded(T5ForConditionalGeneration, config, seed=3).save_pretrained(folder)
    return folder


def seeded(kind, config, seed):
    """A model with weights of its own that nobody else's random numbers decide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(config).eval()
