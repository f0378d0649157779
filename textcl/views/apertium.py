"""Apertium as a translator: rules and dictionaries, offline, one long-lived pipeline of processes a direction."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textcl.artifacts import checksum
from textcl.errors import ConfigError, MissingExtraError, TextclError

MODES = Path("/usr/share/apertium/modes")

_CODE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?\Z")
_MARKUP = re.compile(r"[\\^$/<>\[\]{}@~]")  # what the stream format gives a meaning of its own
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r" {2,}")
_SENTENCE_ENDS = (".", "!", "?", "…", '"', ")", "]", "'")
_AT_ONCE = 256  # texts on their way through the pipeline: enough to keep all its stages busy


class ApertiumStoppedError(TextclError):
    """A process of the pipeline ended while it translated."""


class Apertium:
    """Translates with an installed Apertium language pair.

    Args:
        source: Code of the language it reads, as the pair spells it, such as `eng`.
        target: Code of the language it writes, such as `spa`.
        modes: Folder of the pair's mode files, each of which holds one pipeline.

    Raises:
        ConfigError: If a code is no language code.
        MissingExtraError: If the pair, or a program of its pipeline, is not installed.

    References:
        Forcada et al. (2011), Apertium: a free/open-source platform for rule-based machine translation.
    """

    def __init__(self, source: str, target: str, modes: Path = MODES) -> None:
        for field, code in (("source", source), ("target", target)):
            if not _CODE.match(code):
                raise ConfigError(field, code, "a language code of Apertium, such as eng or spa")
        if source == target:
            raise ConfigError("target", target, "another language than the source")
        self.source, self.target = source, target
        mode = modes / f"{source}-{target}.mode"
        if not mode.is_file() or shutil.which("lt-proc") is None:
            pair = "-".join(sorted((source.split("_")[0], target.split("_")[0])))
            feature = f"translation from {source} to {target} by Apertium"
            raise MissingExtraError(feature, install=f"apt-get install apertium-{pair}")
        self._stages = _stages(mode)
        self._mode = mode
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def facts(self) -> dict[str, Any]:
        """The direction, and a checksum of each file of rules and dictionaries."""
        files = [Path(word) for stage in self._stages for word in stage if word.startswith("/")]
        data = {path.name: checksum(path) for path in files}
        return {"translator": "apertium", "source": self.source, "target": self.target, "data": data}

    def check_variants(self, variants: int) -> None:
        """Raise ConfigError unless one is asked for."""
        if variants != 1:
            raise ConfigError("variants", variants, "1: Apertium has one translation of a text")

    def translate(self, texts: Sequence[str], variants: int = 1) -> list[list[str]]:
        """Return the one translation that Apertium has of each text; words that it does not know stay.

        Raises:
            ConfigError: If more than one variant is asked for.
        """
        self.check_variants(variants)
        found: list[list[str]] = []
        for start in range(0, len(texts), _AT_ONCE):
            asked = [text.replace("\0", " ").rstrip() for text in texts[start : start + _AT_ONCE]]
            answers = self._through([_encoded(text) for text in asked])
            found += [[_decoded(answer, text)] for answer, text in zip(answers, asked, strict=True)]
        return found

    def close(self) -> None:
        """End the processes."""
        if self._processes:
            _ignoring_a_closed_pipe(self._processes[0].stdin)
        for process in self._processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes = []

    def _through(self, items: list[bytes]) -> list[bytes]:
        """Send items through the pipeline, and read as many."""
        if not self._processes:
            self._start()
        # A stage of the pipeline hands on what it holds at the latest with the next item, so an empty one follows.
        sent = b"".join(item + b"\0" for item in [*items, b""])
        writer = threading.Thread(target=self._write, args=(sent,), daemon=True)  # a full pipe would block both ways
        writer.start()
        read = self._read(len(items) + 1)
        writer.join()
        return read[:-1]

    def _start(self) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        for stage in self._stages:
            self._processes.append(
                subprocess.Popen(
                    stage,
                    stdin=self._processes[-1].stdout if self._processes else subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    start_new_session=True,  # Ctrl-C is for us: what is on its way is finished and stored
                )
            )

    def _write(self, sent: bytes) -> None:
        stdin = self._processes[0].stdin
        assert stdin is not None
        try:
            stdin.write(sent)
            stdin.flush()
        except BrokenPipeError:
            pass  # the reader sees the end too, and says so

    def _read(self, count: int) -> list[bytes]:
        stdout = self._processes[-1].stdout
        assert stdout is not None
        parts: list[bytes] = []
        missing = count
        while missing > 0:
            part = os.read(stdout.fileno(), 1 << 16)
            if not part:
                self.close()
                raise ApertiumStoppedError(
                    f"Apertium's pipeline {self._mode} ended in the middle of its work; check that "
                    f"`apertium {self.source}-{self.target}` runs, then start again: what is stored stays"
                )
            missing -= part.count(b"\0")
            parts.append(part)
        return b"".join(parts).split(b"\0")[:count]


def _stages(mode: Path) -> list[list[str]]:
    """Return the commands of a mode file, without marks at unknown words, and each flushing after every text."""
    stages = []
    for command in mode.read_text(encoding="utf-8").strip().split("|"):
        program, *words = (word for word in shlex.split(command) if word != "$2")
        stages.append([program, "-z", *("-n" if word == "$1" else word for word in words)])
    return stages


def _encoded(text: str) -> bytes:
    """Return a text in the stream format, with a full stop where it has none: the tagger expects sentences to end."""
    marked = _MARKUP.sub(r"\\\g<0>", text)
    # An empty blank behind it, or the last full stop is lost.
    return (marked + ("[]" if _ends(text) else ".[]")).encode(errors="replace")


def _decoded(answer: bytes, text: str) -> str:
    """Return what came back for `text`, with single spaces where a word was left out, and no full stop of ours."""
    plain = _ESCAPED.sub(r"\1", answer.decode(errors="replace").removesuffix("[]"))
    plain = _SPACES.sub(" ", plain).strip()
    return plain if _ends(text) else plain.removesuffix(".").rstrip()


def _ends(text: str) -> bool:
    return not text or text.endswith(_SENTENCE_ENDS)


def _ignoring_a_closed_pipe(pipe: Any) -> None:  # noqa: ANN401 (a file of bytes, or None)
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass
