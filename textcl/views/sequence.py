"""Encoder-decoder models of Hugging Face as writers: translators, query generators, paraphrasers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from textcl.errors import ArtifactError, ConfigError
from textcl.libraries import quiet_libraries
from textcl.randomness import key_of
from textcl.views.back_translation import distinct
from textcl.views.model_files import about_model, check_model, digest_model, languages_of, locate_model

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

_SHORTEST = 16  # tokens that a row counts for at least: what it writes takes room too


@dataclass(eq=False)
class SequenceModel:
    """Writes texts with an encoder-decoder model: a Marian translator, a T5 that asks queries, a paraphraser.

    The folder is found and checked at once, the weights are loaded for the first text. What is written is a function of
    the text, the variant and the facts; the other rows of a batch change nothing but rounding.

    Args:
        model: A folder, or a hub name, which is fetched or taken from what was fetched before. Remote code never runs.
        prompt: Put before each text, for models that are told their task, as T5 is.
        device: Where the model runs; None takes a GPU where there is one.
        precision: Of the weights and the arithmetic, fp32 or bf16.
        beams: Hypotheses kept while searching, at least 1; 1 takes the likeliest token each time.
        sampling: Draw each token by its probability instead of searching.
        temperature: Divisor of the logits before drawing, above 0, no unit.
        top_k: Draw among so many of the likeliest tokens; 0 draws among all.
        top_p: Draw among the likeliest tokens that hold this share of the probability, in (0, 1]; 1 draws among all.
        max_tokens: Longest input, prompt and special tokens included, which is cut there; and longest output.
        batch_tokens: Rows times padded length of a batch; each beam and each draw is a row. At least one row is run.
        seed: Of the draws.

    Raises:
        ConfigError: If a setting is out of range, or excludes another one.
        ArtifactError: If the model cannot be had, is damaged, or is no encoder-decoder model.
        MissingExtraError: If its tokenizer needs sentencepiece, which is not installed.
    """

    model: str | Path
    _: KW_ONLY
    prompt: str = ""
    device: str | None = None
    precision: str = "fp32"
    beams: int = 1
    sampling: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_tokens: int = 128
    batch_tokens: int = 4096
    seed: int = 0
    source: str | None = field(init=False)
    target: str | None = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        self._device = _device(self.device)
        self._folder = locate_model(self.model)
        positions = check_model(self.model, self._folder)
        if self.max_tokens > positions:
            raise ConfigError("max_tokens", self.max_tokens, f"at most {positions}, what the model has positions for")
        self.source, self.target = languages_of(self._folder)
        self._loaded: tuple[Any, Any] | None = None
        self._cut = 0

    def _check(self) -> None:
        for name, fine, expected in (
            ("model", str(self.model) != "", "a folder or a hub name"),
            ("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("beams", self.beams >= 1, "a whole number above 0"),
            ("temperature", 0 < self.temperature < math.inf, "a number above 0"),
            ("top_k", self.top_k >= 0, "a whole number of at least 0"),
            ("top_p", 0 < self.top_p <= 1, "a share in (0, 1]"),
            ("max_tokens", self.max_tokens >= 2, "a number of tokens, at least 2"),
            ("batch_tokens", self.batch_tokens >= 1, "a number of tokens above 0"),
        ):
            if not fine:
                raise ConfigError(name, getattr(self, name), expected)
        if self.sampling and self.beams > 1:
            raise ConfigError("sampling", problem=f"draws one token at a time, so set beams to 1, not {self.beams}")

    @cached_property
    def facts(self) -> dict[str, Any]:
        """A digest of the model's files, and every setting that decides what is written."""
        names = ["prompt", "precision", "beams", "max_tokens", "sampling"]
        names += ["seed", "temperature", "top_k", "top_p"] if self.sampling else []
        return {"model": digest_model(self._folder), **{name: getattr(self, name) for name in names}}

    @property
    def notes(self) -> list[str]:
        """How many texts were cut at the token limit."""
        return [f"{self._cut} texts were cut at {self.max_tokens} tokens (max_tokens)"] if self._cut else []

    def check_variants(self, variants: int) -> None:
        """Raise ConfigError unless so many variants of a text can be had."""
        if variants < 1:
            raise ConfigError("variants", variants, "a whole number above 0")
        if variants > self.beams and not self.sampling:
            expected = f"at most {self.beams}, the number of beams; raise beams, or set sampling"
            raise ConfigError("variants", variants, expected)

    def translate(self, texts: Sequence[str], variants: int = 1) -> list[list[str]]:
        """Return `variants` outputs for each text: the best ones, best first, or with sampling independent draws.

        A text of nothing but spaces gives empty strings, and the model is not asked.

        Raises:
            ConfigError: If the settings do not allow so many variants.
            ArtifactError: If the model cannot be loaded.
        """
        self.check_variants(variants)
        asked = list(dict.fromkeys(text for text in texts if text.strip()))
        written = self._write(asked, variants) if asked else {}
        return [list(written.get(text, [""] * variants)) for text in texts]

    def close(self) -> None:
        """Let go of the model; the next text loads it again."""
        self._loaded = None

    def _write(self, texts: list[str], variants: int) -> dict[str, list[str]]:
        """Return what the model writes for each of several different texts."""
        tokenizer, model = self._load()
        copies = variants if self.sampling else 1
        written: dict[str, list[str]] = {text: [] for text in texts}
        with quiet_libraries(), torch.inference_mode():
            prompted = [self.prompt + text for text in texts]
            ids = tokenizer(prompted, truncation=True, max_length=self.max_tokens)["input_ids"]
            full = [place for place, row in enumerate(ids) if len(row) == self.max_tokens]  # whole or cut
            if full:
                whole = tokenizer([prompted[place] for place in full], truncation=False)["input_ids"]
                self._cut += sum(len(row) > self.max_tokens for row in whole)
            rows = [(len(ids[place]), place, copy) for place in range(len(texts)) for copy in range(copies)]
            for batch in _batches(rows, self.batch_tokens // self.beams):
                places = [place for _length, place, _copy in batch]
                inputs = tokenizer.pad({"input_ids": [ids[place] for place in places]}, return_tensors="pt")
                outputs = model.generate(
                    **inputs.to(self._device),
                    do_sample=False,
                    num_beams=self.beams,
                    num_return_sequences=variants // copies,
                    max_new_tokens=self.max_tokens,
                    use_cache=True,
                    return_dict_in_generate=False,
                    logits_processor=self._drawing([(texts[place], copy) for _length, place, copy in batch]),
                )
                for number, one in enumerate(tokenizer.batch_decode(outputs, skip_special_tokens=True)):
                    written[texts[places[number * copies // variants]]].append(one)
        return written

    def _drawing(self, rows: list[tuple[str, int]]) -> transformers.LogitsProcessorList:
        """Return what turns the choice of the likeliest token into a draw, for rows of a text and a variant."""
        if not self.sampling:
            return transformers.LogitsProcessorList()
        noise = GumbelNoise([key_of(self.seed, "sample", text, variant) for text, variant in rows])
        top_k = [transformers.TopKLogitsWarper(self.top_k)] if self.top_k > 0 else []
        top_p = [transformers.TopPLogitsWarper(self.top_p)] if self.top_p < 1 else []
        temperature = transformers.TemperatureLogitsWarper(float(self.temperature))
        return transformers.LogitsProcessorList([temperature, *top_k, *top_p, noise])

    def _load(self) -> tuple[Any, Any]:
        """Return the tokenizer and the model, loaded once."""
        if self._loaded is None:
            # Loading may draw weights before it reads them; that is not to move anybody's random numbers.
            with about_model(self.model, "cannot be loaded: {}"), torch.random.fork_rng(devices=[]):
                tokenizer = transformers.AutoTokenizer.from_pretrained(self._folder)
                model, report = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                    self._folder, dtype=PRECISIONS[self.precision], output_loading_info=True
                )
            if missing := ", ".join(sorted(report["missing_keys"])):  # the library would draw them at random
                raise ArtifactError(self.model, f"is damaged: no weights for {missing}")
            self._loaded = tokenizer, model.to(self._device).eval()
        return self._loaded


@dataclass(frozen=True)
class Generation:
    """Writes other texts for a text in one go: paraphrases, or queries that the text answers.

    Args:
        model: What writes.
        variants: Outputs for a text, at least 1.

    Raises:
        ConfigError: If the model's settings do not allow so many variants.

    References:
        Nogueira, Yang, Lin and Cho (2019), arXiv:1904.08375 (doc2query: queries for a document).
    """

    model: SequenceModel
    variants: int = 1

    def __post_init__(self) -> None:
        self.model.check_variants(self.variants)

    @property
    def facts(self) -> dict[str, Any]:
        """The model's facts and the number of variants."""
        return {"view": "generate", "model": dict(self.model.facts), "variants": self.variants}

    @property
    def notes(self) -> list[str]:
        """What the model has to say."""
        return self.model.notes

    def rewrite(self, texts: Sequence[str]) -> list[list[str]]:
        """Return at most `variants` different texts for each, without empty ones."""
        return [distinct(found) for found in self.model.translate(texts, self.variants)]

    def close(self) -> None:
        """Let go of the model."""
        self.model.close()


class GumbelNoise(transformers.LogitsProcessor):
    """Add Gumbel noise to logits: the largest sum then stands at token i with the chance softmax gives to i.

    Each row has a generator of its own, so that its noise at a step depends on its key and the step alone. One object
    serves one call of `generate`.

    Args:
        keys: One a row, below 2**64.

    References:
        Gumbel (1954), Statistical theory of extreme values and some practical applications; Maddison, Tarlow and Minka
        (2014), arXiv:1411.0030.
    """

    def __init__(self, keys: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(key) for key in keys]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 (the protocol's signature)
        """Return scores (B, V) plus noise."""
        noise = torch.empty(scores.shape)
        for row, generator in zip(noise, self._generators, strict=True):
            # Drawn in float64: the rare large noise comes from numbers near 0, where float32's steps would be too wide.
            row.copy_(torch.rand(len(row), generator=generator, dtype=torch.float64))
        noise.clamp_(2.0**-53, 1 - 2.0**-24).neg_().log1p_().neg_().log_().neg_()
        return scores + noise.to(scores.device)


def _device(wanted: str | None) -> torch.device:
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError as error:
        raise ConfigError("device", wanted, "a device of torch, such as cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", wanted, "cpu, since there is no GPU")
    return device


def _batches(rows: Sequence[tuple[int, int, int]], tokens: int) -> Iterator[list[tuple[int, int, int]]]:
    """Sort rows by their first number, their length, longest first, and cut them into batches of so many tokens."""
    batch: list[tuple[int, int, int]] = []
    for row in sorted(rows, key=lambda row: -row[0]):  # stable: the draws of a text stay in their order
        if batch and (len(batch) + 1) * max(batch[0][0], _SHORTEST) > tokens:
            yield batch
            batch = []
        batch.append(row)
    yield batch
