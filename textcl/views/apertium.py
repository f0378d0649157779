"""Apertium as a translator: rules and dictionaries, offline, one long-lived pipeline of processes a direction."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import subprocess
import threading
from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from textcl.artifacts import checksum
from textcl.errors import ConfigError, MissingExtraError, TextclError

MODES = Path("/usr/share/apertium/modes")

_CODE = re.compile(r"[a-z]{2,3}(_[A-Z]{2})?\Z")
_MARKUP = re.compile(r"[\\^$/<>\[\]{}@~]")  # what the stream format gives a meaning of its own
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r" {2,}")
_PATIENCE_S = 10.0  # without a sign of life, before a text is given up
_AT_ONCE = 256  # texts on their way through the pipeline: enough to keep all its stages busy


class ApertiumStoppedError(TextclError):
    """The pipeline translates nothing any more."""


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
        self._given_up = 0

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The direction, the programs with their settings, and a checksum of each file of rules and dictionaries."""
        data: dict[str, str] = {}
        stages = []
        for program, *words in self._stages:
            files = [Path(word) for word in words if word.startswith("/")]
            data |= {f"{path.parent.name}/{path.name}": checksum(path) for path in files}
            stages.append(" ".join([Path(program).name, *(word for word in words if not word.startswith("/"))]))
        direction = {"source": self.source, "target": self.target}
        return {"translator": "apertium", **direction, "stages": " | ".join(stages), "data": data}

    @property
    def notes(self) -> list[str]:
        """How many texts stopped the pipeline and were given up."""
        return [f"{self._given_up} texts stop Apertium's pipeline and have no view"] if self._given_up else []

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
        asked = [text.replace("\0", " ").strip() for text in texts]
        found: list[str] = []
        for start in range(0, len(asked), _AT_ONCE):
            found += self._through(asked[start : start + _AT_ONCE])
        return [[answer] for answer in found]

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.wait()
        # Not before: a writer that is held up by a full pipe holds the pipe's lock, and ends with its reader.
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                _ignoring_a_closed_pipe(pipe)
        self._processes = []

    def _through(self, texts: list[str]) -> list[str]:
        """Return what comes back for each text; nothing for one that stops the pipeline.

        Raises:
            ApertiumStoppedError: If the pipeline has no answer to anything.
        """
        found: list[str] = []
        at_once = len(texts)
        while len(found) < len(texts):
            asked, fresh = texts[len(found) : len(found) + at_once], not self._processes
            answers = self._exchange(asked)
            found += answers
            if len(answers) == len(asked):
                continue
            # What stopped it is the first text without an answer, or one of the next few: each is asked alone.
            self.close()
            if at_once == 1 and fresh:
                self._check_alive()
                found.append("")
                self._given_up += 1
            at_once = 1
        return found

    def _check_alive(self) -> None:
        if not self._exchange(["a"]):
            self.close()
            raise ApertiumStoppedError(
                f"Apertium's pipeline {self._mode} gives no answer; check that `apertium {self.source}-{self.target}` "
                "runs, then start again: what is stored stays"
            )

    def _exchange(self, texts: list[str]) -> list[str]:
        """Send texts through the pipeline; return the answers up to the first that is missing or not its text's."""
        if not self._processes:
            self._start()
        # A stage of the pipeline hands on what it holds at the latest with the next item, so an empty one follows.
        sent = b"\0".join([*(_encoded(text, number) for number, text in enumerate(texts)), b"", b""])
        writer = threading.Thread(target=self._write, args=(sent,), daemon=True)  # a full pipe would block both ways
        writer.start()
        answers = [_decoded(item, number) for number, item in enumerate(self._read(len(texts) + 1)[: len(texts)])]
        return list(takewhile(lambda answer: answer is not None, answers))  # type: ignore[arg-type]

    def _start(self) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        for stage in self._stages:
            before = self._processes[-1].stdout if self._processes else None
            process = subprocess.Popen(
                stage,
                stdin=before or subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us: what is on its way is finished and stored
            )
            if before is not None:
                before.close()  # so that the end of one stage is seen by the next
            self._processes.append(process)

    def _write(self, sent: bytes) -> None:
        stdin = self._processes[0].stdin
        assert stdin is not None
        try:
            stdin.write(sent)
            stdin.flush()
        except BrokenPipeError:
            pass  # the reader sees the end too, and says so

    def _read(self, count: int) -> list[bytes]:
        """Return `count` answers, or those that came before the pipeline stood still or ended."""
        stdout = self._processes[-1].stdout
        assert stdout is not None
        read = b""
        while read.count(b"\0") < count:
            if not select.select([stdout], [], [], _PATIENCE_S)[0]:
                break
            part = os.read(stdout.fileno(), 1 << 16)
            if not part:
                break
            read += part
        return read.split(b"\0")[:-1][:count]


def _stages(mode: Path) -> list[list[str]]:
    """Return the commands of a mode file, without marks at unknown words, and each flushing after every text."""
    stages = []
    for command in mode.read_text(encoding="utf-8").strip().split("|"):
        program, *words = (word for word in shlex.split(command) if word != "$2")
        stages.append([program, "-z", *("-n" if word == "$1" else word for word in words)])
    return stages


def _encoded(text: str, number: int) -> bytes:
    """Return a text in the stream format, with a blank that holds its number behind it.

    The full stop behind that ends the sentence, as the tagger expects, and keeps the text's own.
    """
    marked = _MARKUP.sub(r"\\\g<0>", text)
    return f"{marked}[{number}].".encode(errors="replace")


def _decoded(answer: bytes, number: int) -> str | None:
    """Return what came back for the text with this number, single spaces between words; None for another text's."""
    plain, mark, _ours = answer.decode(errors="replace").rpartition(f"[{number}]")
    # Where a word was left out, such as a pronoun, two spaces stand.
    return _SPACES.sub(" ", _ESCAPED.sub(r"\1", plain)).strip() if mark else None


def _ignoring_a_closed_pipe(pipe: Any) -> None:  # noqa: ANN401 (a file of bytes, or None)
    try:
        if pipe is not None:
            pipe.close()
    except BrokenPipeError:
        pass
