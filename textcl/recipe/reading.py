"""YAML in, resolved YAML out; every fault is found and named before anything runs."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from textcl.errors import ConfigError, ConfigErrors, DataError
from textcl.recipe.methods import METHODS
from textcl.recipe.models import DATA, Recipe
from textcl.recipe.views import TAGGED_MODELS

_TAGGED = {**TAGGED_MODELS, **METHODS, **DATA}


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, where plain YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):  # such as the {{placeholder}} of a template that nobody filled in
                problem = "a key must be a word; put quotes around a value that starts with { or ["
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 2e-5 for a string, because it has no dot; everybody else takes it for a number.
_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_recipe(source: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Return a recipe with all defaults filled in.

    Args:
        source: A Path to a YAML file, or the YAML text itself.
        overrides: Values by dotted field, such as `{"data.train": "texts.txt"}`, put over the file's.

    Raises:
        ConfigError: For a wrong recipe; several faults come as one ConfigErrors.
        DataError: If the file is missing or no YAML.
    """
    file = source if isinstance(source, Path) else None
    text = source if isinstance(source, str) else _read_text(source)
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "not YAML"
        raise DataError(f"not a recipe: {problem}", file or "recipe", mark.line + 1 if mark else None) from error
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise DataError("not a recipe: expected sections such as `data:` and `training:`", file or "recipe")
    if document.get("data") is None:
        document["data"] = {}  # so that an empty recipe is told what of its data is missing
    for field, value in (overrides or {}).items():
        _put(document, field, value)
    try:
        return Recipe.model_validate_json(_to_json(document))
    except ValidationError as error:
        faults = [_fault(details) for details in error.errors()]
        raise faults[0] if len(faults) == 1 else ConfigErrors(faults) from None


def _to_json(document: object) -> str:
    # Through JSON, pydantic's strict mode takes lists for tuples, which YAML has no word for.
    return json.dumps(document, default=str)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError("no such recipe", path) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read as a recipe: {error}", path) from error


def parse_overrides(pairs: list[str]) -> dict[str, object]:
    """Return values by field from `key=value` words; values are read as YAML.

    Raises:
        ConfigError: If a word has no `=`, or its value is no YAML.
    """
    overrides: dict[str, object] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise ConfigError("set", pair, "key=value, such as training.batch_size=32")
        try:
            overrides[key] = yaml.load(value, Loader=_UniqueKeyLoader)
        except yaml.YAMLError as error:
            raise ConfigError(key, value, "a YAML value") from error
    return overrides


def _put(document: dict[str, Any], field: str, value: object) -> None:
    *sections, last = field.split(".")
    for section in sections:
        inner = document.get(section)
        if not isinstance(inner, dict):
            inner = document[section] = {}
        document = inner
    document[last] = value


def _fault(details: ErrorDetails) -> ConfigError:
    """Return one of pydantic's faults in this project's words."""
    place = _place(details["loc"])
    field = ".".join(place) or "recipe"
    kind = details["type"]
    if kind == "extra_forbidden":
        keys = _keys_beside(details["loc"][:-1])
        nearest = difflib.get_close_matches(place[-1], keys, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"the keys are {', '.join(keys)}"
        owner = details["loc"][-2] if len(place) < len(details["loc"]) and len(place) > 1 else None
        of = f" of {owner}" if owner in METHODS and place[0] == "method" else ""
        return ConfigError(field, problem=f"unknown key{of}; {hint}")
    if kind == "missing":
        return ConfigError(field, problem="is missing; put it into the recipe or use --set")
    if kind == "value_error":
        return ConfigError(field, problem=details["msg"].removeprefix("Value error, "))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_name(f"{field}.name", details.get("ctx") or {})
    context = details.get("ctx") or {}
    expected = _EXPECTED.get(kind, details["msg"].removeprefix("Input should be ")).format(**context)
    return ConfigError(field, details["input"], expected)


def _unknown_name(field: str, context: Mapping[str, Any]) -> ConfigError:
    """Return the fault of a section whose `name` says which one it is, and does not."""
    if "tag" not in context:
        return ConfigError(field, problem="is missing; it says which one is meant")
    nearest = difflib.get_close_matches(context["tag"], context["expected_tags"].replace("'", "").split(", "), n=1)
    if nearest:
        return ConfigError(field, problem=f"unknown name {context['tag']!r}; did you mean {nearest[0]}?")
    return ConfigError(field, context["tag"], f"one of {context['expected_tags']}")


def _place(loc: tuple[int | str, ...]) -> list[str]:
    """Return where a fault is, without the names by which pydantic says which of several models it took."""
    return [str(part) for part, _model, is_tag in _walk(loc) if not is_tag]


_EXPECTED = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than_equal": "a number of at most {le}",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "too_short": "a list of at least {min_length}",
    "model_type": "a section with keys of its own",
    "model_attributes_type": "a section with keys of its own",
}


def _keys_beside(loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section at `loc` takes."""
    model = [Recipe, *(model for _part, model, _is_tag in _walk(loc))][-1]
    return list(model.model_fields)


def _walk(loc: tuple[int | str, ...]) -> Iterator[tuple[int | str, Any, bool]]:
    """Yield each part of a fault's place, the model it leads to, and whether it only says which model was taken.

    The model is None at a value, and where several are possible.
    """
    model: Any = Recipe
    for part in loc:
        is_tag = model is None and part in _TAGGED
        if is_tag:
            model = _TAGGED[str(part)]
        elif model is not None and isinstance(part, str):  # the number of a list's entry leads to that entry
            field = model.model_fields.get(part)
            model = None if field is None else _model_of(field.annotation)
        yield part, model, is_tag


def _model_of(annotation: Any) -> Any:  # noqa: ANN401 (typing's own objects)
    """Return the model in an annotation such as `Model | None` or `tuple[Model, ...]`; None where it may be another."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    members = [part for part in getattr(annotation, "__args__", ()) if part not in (type(None), Ellipsis)]
    return _model_of(members[0]) if len(members) == 1 else None


def write_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML with every default written out; reading it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
