"""A tiny corpus, tokenizer and encoder, made on the spot and offline; Hypothesis without luck or deadline."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter

# Set before any library reads them, and inherited by the processes that tests start.
_HUGGING_FACE = tempfile.mkdtemp(prefix="textcl-tests-")
atexit.register(shutil.rmtree, _HUGGING_FACE, ignore_errors=True)
os.environ["HF_HOME"] = _HUGGING_FACE
os.environ["HF_DATASETS_CACHE"] = os.path.join(_HUGGING_FACE, "datasets")  # noqa: PTH118 (a string is wanted)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# For tensors as small as these a second thread gains nothing, and its spinning makes a busy machine 20 times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402 (the environment comes first)
import torch  # noqa: E402
from accelerate import Accelerator  # noqa: E402
from hypothesis import settings  # noqa: E402
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors  # noqa: E402
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast  # noqa: E402
from transformers.utils import logging as transformers_logging  # noqa: E402

from textcl.assemble import mining  # noqa: E402
from textcl.encoder import vector_files  # noqa: E402
from textcl.encoder.embed import embed_texts  # noqa: E402
from textcl.encoder.load import load_encoder  # noqa: E402

# Accelerate keeps one precision for the life of a process; `auto` then chooses it on every machine.
Accelerator(cpu=True, mixed_precision="no")
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")
transformers_logging.disable_progress_bar()

SENTENCES = """
The river rises in the northern hills and flows south for ninety miles.
A small bridge of stone crosses the river near the old mill.
Rain fell for three days, and the mill stood under water.
The miller moved his flour to the church on the hill.
Bees find their way home by the position of the sun.
A hive may hold forty thousand bees in summer.
Honey keeps for years if it is sealed against damp air.
The beekeeper wears white, because dark cloth makes bees angry.
Copper conducts heat better than iron does.
Iron rusts when water and air reach it together.
Gold does not rust, which is why it was used for coins.
The smith heated the iron until it was white.
Wheat is sown in autumn and cut in the summer after.
Barley grows on poorer soil than wheat.
Dry soil loses its top layer to the wind.
Farmers plant trees to keep the wind from the fields.
The train leaves the city at nine and reaches the coast at noon.
A ticket for the train costs less on Sundays.
The old station was closed in 1962 and is a library now.
Books are lent for three weeks and may be kept for six.
The library opens at ten o'clock, except on Mondays.
She read the same book twice and liked it better the second time.
The author lived by the coast and wrote about ships.
Ships carried wheat and copper to the islands.
The islands have no river, so water is kept in tanks.
A storm in winter cut the islands off for nine days.
What causes a storm? Warm air rises, and cold air takes its place.
How is honey made? Bees carry nectar home and dry it with their wings.
Why does iron rust? It joins with the oxygen of the air.
When is wheat cut? In most places at the end of July.
The doctor asked how long the fever had lasted.
A fever of more than a week needs a blood test.
Blood carries oxygen from the lungs to every part of the body.
The heart of a child beats faster than that of an adult.
Drink plenty of water when you have a fever.
Vitamin C is found in lemons, peppers and cabbage.
Sailors ate lemons on long journeys to stay well.
The cook added peppers and cabbage to the soup.
Soup should be heated slowly, or the cream will split.
Bread is made of flour, water, salt and yeast.
Yeast needs warmth to make the bread rise.
The baker starts at two in the morning. He sleeps in the afternoon.
The sun is a star of middle size. It will shine for five billion years.
The moon has no air. Footprints on it stay for ages.
Stars look blue when they are hot, and red when they are cooler.
A telescope gathers light with a mirror or a lens.
The mirror of the new telescope is eight metres wide.
Glass is made from sand that is heated until it melts.
The glass of the church windows is red and blue.
The church bell was cast in copper and tin.
Children learn to read between five and seven.
The school has ninety children and four teachers.
The teacher drew the moon, the sun and five stars on the board.
Music is taught on Mondays and drawing on Fridays.
The violin has four strings and the piano more than two hundred.
He played the piano every evening until the neighbours complained.
The neighbours keep bees and sell honey at the market.
The market opens at dawn; fish is sold first.
Fish are caught at night with lights and nets.
The nets are mended in winter, when storms keep the ships at home.
""".strip().splitlines()

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def make_tokenizer(texts):
    """WordPiece as BERT has it; the vocabulary is every character, some endings and every word that is met twice."""
    pieces = pre_tokenizers.BertPreTokenizer()
    words = Counter(word for text in texts for word, _span in pieces.pre_tokenize_str(text.lower()))
    characters = sorted({character for word in words for character in word})
    endings = ["##s", "##ed", "##ing", "##er", "##ly"]
    known = [word for word in sorted(words) if words[word] > 1]
    names = [*SPECIAL_TOKENS.values(), *characters, *(f"##{character}" for character in characters), *endings, *known]
    vocabulary = {name: number for number, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=128, **SPECIAL_TOKENS)


@pytest.fixture(scope="session")
def tiny_corpus():
    """Sixty sentences."""
    return list(SENTENCES)


@pytest.fixture(scope="session")
def tiny_hf_folder(tmp_path_factory):
    """Folder of a bare Hugging Face BERT: 2 layers, width 32, 128 positions, dropout 0.1, always the same weights."""
    folder = tmp_path_factory.mktemp("encoder") / "hugging_face"
    tokenizer = make_tokenizer(SENTENCES)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,  # wide, so that texts and poolings differ by far more than rounding
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        model = BertModel(config)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_hf_folder, tmp_path_factory):
    """Folder of the same encoder as a sentence-transformers model: mean pooling, at most 64 tokens."""
    folder = tmp_path_factory.mktemp("encoder") / "sentence_transformers"
    load_encoder(tiny_hf_folder, pooling="mean", max_tokens=64).save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture
def tiny_encoder(tiny_model_folder):
    """A fresh copy of the tiny encoder, that a test may change."""
    return load_encoder(tiny_model_folder)


@pytest.fixture
def tiny_tokenizer(tiny_encoder):
    """The tiny encoder's tokenizer."""
    return tiny_encoder.tokenizer


def pytest_sessionfinish(session):
    """In CI everything that a test needs is installed, so a skipped test there hides a missing installation."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if os.environ.get("CI") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} skipped tests are failures in CI")


@pytest.fixture
def encoded(monkeypatch):
    """The numbers of texts that are embedded for vectors on disk and for mining, a call each."""
    counts = []

    def counted(encoder, texts, **more):
        counts.append(len(texts))
        return embed_texts(encoder, texts, **more)

    for module in (vector_files, mining):
        monkeypatch.setattr(module, "embed_texts", counted)
    return counts
