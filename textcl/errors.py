"""What can go wrong for a user, each kind with the facts that name it.

TextclError
├── ConfigError          a setting out of range or unknown (also a ValueError)
│   └── ConfigErrors     several of them, found together
├── DataError            a file or a line of it that cannot be read as data
├── ShapeError           an array or tensor of the wrong shape (also a ValueError)
├── ArtifactError        a folder written by textcl that is missing, damaged or of another version
├── MissingExtraError    an optional package that is not installed
└── PromiseError         nothing is wrong with the input, but a gate said no (exit code 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class TextclError(Exception):
    """Base of every error that a user can mend; its text is complete without a traceback."""


class ConfigError(TextclError, ValueError):
    """A setting is unknown or out of range.

    Args:
        field: Dotted name of the setting, as a recipe or a command line spells it.
        got: The value that was given.
        expected: What would have been accepted, in words; it starts after "expected ".
        problem: A whole sentence instead of "expected …, got …", for unknown keys and combinations.
    """

    def __init__(self, field: str, got: object = None, expected: str = "", problem: str = "") -> None:
        self.field, self.got, self.expected, self.problem = field, got, expected, problem
        shown = repr(str(got)) if isinstance(got, Path) else repr(got)
        super().__init__(f"{field}: {problem or f'expected {expected}, got {shown}'}")

    def within(self, section: str) -> ConfigError:
        """Return the same error with `section.` before the field's name."""
        return ConfigError(f"{section}.{self.field}", self.got, self.expected, self.problem)


class ConfigErrors(ConfigError):  # noqa: N818 (the plural is the point)
    """Several settings are wrong; `errors` holds one ConfigError each and the text has a line for each."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__(errors[0].field, errors[0].got, errors[0].expected, errors[0].problem)
        self.errors = tuple(errors)
        self.args = ("\n".join(str(error) for error in errors),)

    def within(self, section: str) -> ConfigErrors:
        """Return the same errors with `section.` before each field."""
        return ConfigErrors([error.within(section) for error in self.errors])


def raise_all(errors: Sequence[ConfigError]) -> None:
    """Raise one error as itself and several as ConfigErrors; without any, return."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ConfigErrors(errors)


class DataError(TextclError):
    """A file, or a line of it, is not the data that was asked for.

    Args:
        problem: What is wrong and what to do, in words.
        file: The file or folder; None for data that came from memory.
        line: Line number counted from 1, where one line is at fault.
    """

    def __init__(self, problem: str, file: str | Path | None = None, line: int | None = None) -> None:
        self.problem, self.file, self.line = problem, file, line
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(f"{place}{problem}")


class ShapeError(TextclError, ValueError):
    """An array or tensor has the wrong shape; `name` is the argument, `shape` what it had."""

    def __init__(self, name: str, shape: Sequence[int], expected: str) -> None:
        self.name, self.shape, self.expected = name, tuple(shape), expected
        super().__init__(f"{name}: expected shape {expected}, got {tuple(shape)}")


class ArtifactError(TextclError):
    """A folder that textcl wrote is missing, damaged, or of another version or another model."""

    def __init__(self, path: str | Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class MissingExtraError(TextclError, ImportError):
    """A feature needs an optional package; the text has the command that installs it.

    Args:
        feature: What cannot be had without it.
        extra: Name of the extra of this package, where it comes with one.
        install: The command, where the package is one of the system.
    """

    def __init__(self, feature: str, extra: str | None = None, install: str | None = None) -> None:
        self.feature, self.extra = feature, extra
        pip = f"pip install 'textcl[{extra}]'"
        super().__init__(f"{feature} needs an optional package: {install or pip}")


class PromiseError(TextclError):
    """The input was right, but the outcome is not what was promised: quality, health, a number."""
