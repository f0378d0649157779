"""The folder of an encoder-decoder model: found or fetched, checked before it is opened, and digested."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import transformers
from huggingface_hub import snapshot_download

from textcl.artifacts import checksum, fingerprint
from textcl.errors import ArtifactError, MissingExtraError
from textcl.libraries import quiet_libraries

# What in a model's folder decides what it writes: these files are fetched, and digested.
_WEIGHTS, _OLD_WEIGHTS = ("model*.safetensors", "model.safetensors.index.json"), ("pytorch_model*.bin*",)
_THE_REST = ("config.json", "generation_config.json", "*token*.json", "*vocab*", "merges.txt", "*.spm", "*.model")


def locate_model(model: str | Path) -> Path:
    """Return the model's folder, fetched where it is a hub name."""
    name = str(model)
    if Path(model).is_dir():
        return Path(model)
    if Path(model).exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ArtifactError(model, "no such folder")
    with about_model(model, "cannot be had: {}; give a folder, or fetch it where there is network"):
        for weights in (_WEIGHTS, _OLD_WEIGHTS):
            folder = Path(snapshot_download(name, allow_patterns=[*_THE_REST, *weights], ignore_patterns=["*/*"]))
            if _present(folder, weights):
                break
    return folder


def _present(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files of a folder that fit one of the patterns, in the order of their names."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def check_model(model: str | Path, folder: Path) -> float:
    """Raise unless the folder holds an encoder-decoder model, and return for how many positions it was made."""
    if not (folder / "config.json").is_file():
        raise ArtifactError(model, "is no model of Hugging Face: config.json is missing")
    with about_model(model, "its config.json cannot be read: {}"):
        config = transformers.AutoConfig.from_pretrained(folder)
    if not (config.is_encoder_decoder and type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING):
        raise ArtifactError(model, f"is no encoder-decoder model of texts but a {config.model_type}")
    if not _present(folder, (*_WEIGHTS, *_OLD_WEIGHTS)):
        raise ArtifactError(model, "has no weights: neither model.safetensors nor pytorch_model.bin")
    pieces = not (folder / "tokenizer.json").is_file() and _present(folder, ("*.spm", "*.model"))
    if (config.model_type == "marian" or pieces) and importlib.util.find_spec("sentencepiece") is None:
        raise MissingExtraError(f"the tokenizer of {model}", "translation")
    return getattr(config, "max_position_embeddings", None) or math.inf


def languages_of(folder: Path) -> tuple[str | None, str | None]:
    """Return the languages that a translator reads and writes, None where its tokenizer does not say."""
    path = folder / "tokenizer_config.json"
    with about_model(path, "cannot be read: {}"):
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return settings.get("source_lang"), settings.get("target_lang")


def digest_model(folder: Path) -> str:
    """Return a digest of the files that decide what a model writes; where the folder lies does not count."""
    files = _present(folder, (*_THE_REST, *(_WEIGHTS if _present(folder, _WEIGHTS) else _OLD_WEIGHTS)))
    return fingerprint(part for path in files for part in (path.name, checksum(path)))


@contextlib.contextmanager
def about_model(model: str | Path, problem: str) -> Iterator[None]:
    """Let the libraries work in silence; what they raise becomes one line about the model, with its reason in {}."""
    try:
        with quiet_libraries():
            yield
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")
        raise ArtifactError(model, problem.format(reason)) from error
