"""An encoder of ours as the MTEB package wants one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from textcl.encoder.embed import embed_texts
from textcl.encoder.load import fingerprint_encoder, prompt_of
from textcl.progress import Progress, quiet


class MtebEncoder(AbsEncoder):
    """Embeds MTEB's texts without padding, with the encoder's own prompts, to unit length.

    Args:
        model: The encoder.
        name: What results call it.
        progress: Told of texts.
    """

    def __init__(self, model: SentenceTransformer, name: str, progress: Progress = quiet) -> None:
        self.model, self.progress = model, progress
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": f"textcl/{name}",
                "revision": fingerprint_encoder(model),
                "embed_dim": model.get_embedding_dimension(),
                "max_tokens": model.max_seq_length,
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(
        self,
        inputs: Iterable[dict[str, Any]],
        *,
        prompt_type: PromptType | None = None,
        **_where: object,
    ) -> NDArray[np.float32]:
        """Return the embeddings (N, D) of the `text` of all batches; queries and documents get their prompts."""
        prompt = "" if prompt_type is None else prompt_of(self.model, prompt_type.value)
        texts = [text for batch in inputs for text in batch["text"]]
        vectors: NDArray[np.float32] = embed_texts(self.model, texts, prompt=prompt, progress=self.progress).vectors
        return vectors
