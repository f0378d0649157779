"""Texts and an encoder → vectors on disk, a block at a time, in a folder that a kill only delays."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from textcl.artifacts import fingerprint, read_manifest, write_manifest
from textcl.assemble.notes import padding_note
from textcl.corpus.documents import Texts, TextStream, open_texts
from textcl.encoder.embed import BLOCK_TEXTS, Embedded, embed_blocks, measure_loss
from textcl.encoder.layers import transformer_of
from textcl.encoder.load import describe_encoder, load_encoder, widths_of
from textcl.encoder.machine import fastest, product_speed, safe_precisions, say_speeds
from textcl.encoder.products import Precision, check_precision, multiplies_bytes
from textcl.errors import ArtifactError, DataError
from textcl.progress import Progress, Say, quiet, silent
from textcl.unfinished import UNFINISHED, Unfinished, check_resumable, resumable_folder

_KIND, _VERSION = "vectors", 1
_LOSS_TEXTS = 512  # on which a lower precision is compared with fp32


def encode(
    model: str | Path | SentenceTransformer,
    source: str | Path | Texts,
    *,
    out: str | Path,
    column: str | None = None,
    limit: int | None = None,
    precision: Precision | Literal["auto"] = "fp32",
    resume: bool = False,
    force: bool = False,
    progress: Progress = quiet,
    say: Say = silent,
) -> tuple[Path, dict[str, Any]]:
    """Write the unit-length vectors of a source's texts to a folder; return the folder and its manifest.

    The folder holds vectors.npy (N, D) float32, texts.jsonl with ids and texts in the same order, and a manifest that
    says which encoder made them. `build_index` takes it as its source.

    Args:
        model: A model's folder or name, or a loaded encoder.
        source: What `open_texts` reads, or texts already read.
        out: The folder. Until all texts are done they gather beside it.
        column: The column of texts, where the source has several.
        limit: Read only the first rows.
        precision: Of the linear layers' products; auto for bf16 where its products are 1.2 times as fast as fp32's or
            more, and else fp32. How near a lower one comes to fp32 is measured on the first texts.
        resume: Go on with an encode of the same that was interrupted; the vectors are those of one that was not.
        force: Replace a folder that textcl wrote at `out`; without `resume` also what was interrupted.
        progress: Told of texts encoded.
        say: Told what a user should know of the encoder and the precision.

    Raises:
        ConfigError: If `out` exists, another process is writing it, or the device has no such precision.
        DataError: If the source is at fault, or holds other texts than those that what is to go on began with.
        ArtifactError: If there is nothing to go on with, or it began with another model or setting.
    """
    target = Path(out)
    check_resumable(target, resume=resume, force=force)
    texts = source if isinstance(source, Texts) else open_texts(source, column=column, limit=limit)
    encoder = model if isinstance(model, SentenceTransformer) else load_encoder(model)
    facts = describe_encoder(encoder, where_is(model))
    if precision != "auto":
        check_precision(precision, encoder.device)
    if note := padding_note(encoder):
        say(note)
    with resumable_folder(target, resume=resume, force=force) as unfinished:
        state = unfinished.read()
        chosen = precision if precision != "auto" else _fastest(encoder, state, say)
        made_with = {
            **{name: facts[name] for name in ("fingerprint", "document_prompt", "max_tokens")},
            "rows": len(texts), "precision": chosen, "device": encoder.device.type, "block_texts": BLOCK_TEXTS,
        }  # fmt: skip
        if state is not None:
            _check_same(target, state["made_with"], made_with)
        manifest: dict[str, Any] = {"rows": len(texts), "source": texts.source, "precision": chosen, "encoder": facts}
        if chosen != "fp32":
            _, sample = next(texts.blocks(_LOSS_TEXTS))
            loss = measure_loss(encoder, sample, chosen, prompt=facts["document_prompt"])
            say(f"{chosen}: {loss}")
            if chosen == "int8" and not multiplies_bytes():
                say("int8: this processor has no products of bytes (VNNI); fp32 is faster and nearer here")
            manifest["loss"] = loss.__dict__
        writing = _Writing(unfinished, made_with, _Done(**state["done"]) if state else _Done())
        try:
            done = _write(writing, texts, encoder, chosen, facts, progress)
            manifest |= {"cut_texts": done.cut_texts, "texts_digest": done.digest}
        except BaseException:
            if kept := unfinished.read():
                say(f"{kept['done']['texts']} of {len(texts)} texts are done and kept; add --resume to go on")
            raise
        write_manifest(unfinished.folder, _KIND, _VERSION, manifest, leave_out=(UNFINISHED,))
    return target, manifest


def _fastest(encoder: SentenceTransformer, state: dict[str, Any] | None, say: Say) -> Precision:
    """Return what `auto` is: the precision of what goes on, or bf16 where its products are much faster than fp32's."""
    if state is not None:
        return cast(Precision, state["made_with"]["precision"])
    names = [name for name in safe_precisions(encoder.device) if name != "fp16"]
    widths, device = widths_of(transformer_of(encoder).config), torch.device(encoder.device.type)
    speeds = {name: product_speed(*widths, name, device) for name in names}
    chosen = fastest(speeds)
    say(f"precision: {chosen} (measured: {say_speeds(speeds)})")
    return cast(Precision, chosen)


def _check_same(target: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ArtifactError if what goes on began with anything else."""
    for name, value in now.items():
        if before[name] != value:
            problem = f"began with another {name} ({before[name]!r}, now {value!r}); give it the same, or start anew"
            raise ArtifactError(target, problem)


@dataclass(frozen=True)
class _Done:
    """How far an encode is.

    Args:
        texts: Texts whose vectors are on disk.
        cut_texts: Those among them that were longer than the encoder's limit.
        text_bytes: Bytes of texts.jsonl that speak of them.
        digest: Of their ids and texts, block by block.
    """

    texts: int = 0
    cut_texts: int = 0
    text_bytes: int = 0
    digest: str = ""


@dataclass(frozen=True)
class _Writing:
    """What an encode writes to, what it was asked, and how far it was at its start."""

    unfinished: Unfinished
    made_with: dict[str, Any]
    start: _Done

    def save(self, done: _Done) -> None:
        """Note that everything up to `done` is on disk."""
        self.unfinished.save({"made_with": self.made_with, "done": done.__dict__})


def _write(
    writing: _Writing,
    texts: TextStream | Texts,
    encoder: SentenceTransformer,
    precision: Precision,
    facts: dict[str, Any],
    progress: Progress,
) -> _Done:
    """Write vectors.npy and texts.jsonl from where they are, a block at a time; return where they end."""
    folder, done = writing.unfinished.folder, writing.start
    vectors = _open_vectors(folder / "vectors.npy", (len(texts), facts["dimension"]))
    ends: deque[tuple[int, str]] = deque()  # of the blocks that are taken and not yet encoded
    (folder / "texts.jsonl").touch()
    with (folder / "texts.jsonl").open("r+b") as file, progress("encode", len(texts)) as advance:
        file.seek(done.text_bytes)
        file.truncate()
        advance(done.texts)
        blocks = _write_texts(file, texts, done, ends)
        made_blocks = embed_blocks(
            encoder, blocks, prompt=facts["document_prompt"], precision=precision, advance=advance
        )
        with closing(made_blocks):
            for made in made_blocks:
                end = done.texts + len(made.vectors)
                vectors[done.texts : end] = made.vectors
                vectors.flush()
                os.fsync(file.fileno())
                done = _Done(end, done.cut_texts + made.cut_texts, *ends.popleft())
                writing.save(done)
    return done


def _open_vectors(path: Path, shape: tuple[int, int]) -> np.memmap[Any, np.dtype[np.float32]]:
    """Return the array in `path`, made if it is not there, with all of its place on disk."""
    if path.is_file():
        return cast("np.memmap[Any, np.dtype[np.float32]]", np.load(path, mmap_mode="r+"))
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:  # a full disk is an error here, and would be the process's end in the middle
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return cast("np.memmap[Any, np.dtype[np.float32]]", vectors)


def _write_texts(
    file: BinaryIO, texts: TextStream | Texts, done: _Done, ends: deque[tuple[int, str]]
) -> Iterator[list[str]]:
    """Yield blocks of texts behind those that are done, each written to `file`, its end and digest put into `ends`.

    Raises:
        DataError: If what is done was made from other texts.
    """
    digest, read = "", 0
    for ids, block in texts.blocks(BLOCK_TEXTS):
        digest, read = fingerprint([digest, *ids, *block]), read + len(block)
        if read <= done.texts:
            if read == done.texts and digest != done.digest:
                problem = "holds other texts than those this encode began with; give it the same, or start anew"
                raise DataError(problem, texts.source)
            continue
        for name, text in zip(ids, block, strict=True):
            file.write(json.dumps({"_id": name, "text": text}, ensure_ascii=False).encode() + b"\n")
        file.flush()
        ends.append((file.tell(), digest))
        yield block


def digest_of(texts: Texts) -> str:
    """Return what the manifest of an `encode` of these texts says of them."""
    digest = ""
    for ids, block in texts.blocks(BLOCK_TEXTS):
        digest = fingerprint([digest, *ids, *block])
    return digest


def read_encoded(folder: Path, facts: dict[str, Any], texts: Texts | None = None) -> Embedded:
    """Return the vectors of an `encode` folder.

    Args:
        folder: It.
        facts: The encoder's.
        texts: What must have been encoded; None for whatever was.

    Raises:
        ArtifactError: If another encoder than the one with these facts made them, or of other texts.
    """
    manifest = read_manifest(folder, _KIND, _VERSION)
    made_by = manifest["encoder"]
    for fact in ("fingerprint", "document_prompt"):
        if made_by[fact] != facts[fact]:
            problem = f"was encoded by another model ({made_by['model']}): its {fact} differs; encode again"
            raise ArtifactError(folder, problem)
    if texts is not None and manifest["texts_digest"] != digest_of(texts):
        raise ArtifactError(folder, "was made from other texts; add --force to start anew")
    return Embedded(np.load(folder / "vectors.npy", mmap_mode="r"), manifest["cut_texts"])


def where_is(model: str | Path | SentenceTransformer) -> str:
    """Return a model's name, or its folder as a path that also holds from elsewhere, as far as an encoder knows."""
    if isinstance(model, SentenceTransformer):
        return str(getattr(transformer_of(model).config, "_name_or_path", "")) or "an encoder in memory"
    return str(Path(model).resolve()) if Path(model).is_dir() else str(model)
