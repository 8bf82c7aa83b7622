"""What is wrong in a YAML file of settings, told key by key: what was expected, what was found, what to write."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from board_app.core.errors import UsageError

_LONGEST = 60  # characters of a wrong value that are shown
_PREFIXES = ("Value error, ", "Input should be ", "String should ", "expected ")


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """The keys of a YAML file, unchecked.

    Args:
        path: the file.
        what: it is, such as `a plan`.
    Raises:
        UsageError: no such file, no YAML, or something else than keys.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"expected {what} at {path}, found none. The examples are in configs/") from error
    except IsADirectoryError as error:
        raise UsageError(f"expected {what} at {path}, found a folder. Name a .yaml file") from error
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        found = ", ".join(filter(None, (error.context, error.problem)))
        raise UsageError(
            f"{path}: expected YAML, found{line}: {found}. Correct it as the examples in configs/"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: expected YAML in UTF-8, found other text. Compare with configs/") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected `key: value` lines, found {kind_of(document)}. See configs/")
    return document


def kind_of(document: Any) -> str:
    """What a YAML file holds that has no keys, in words."""
    if document is None:
        return "an empty file"
    return "a list" if isinstance(document, list) else _found(document)


def complaint(model: type[BaseModel], mistake: Any, name: str) -> str:
    """One line for one of pydantic's mistakes; the description of a field is the advice for it."""
    loc = list(mistake["loc"])
    whole = len(loc) < 2 or not isinstance(loc[-1], int)  # else a part of a list or tuple: told of all of it
    *sections, key = [str(part) for part in (loc if whole else loc[:-1])] or ["the document"]
    where = f" in [{'.'.join(sections)}]" if sections else ""
    section = _section(model, sections)
    fields = section.model_fields if section else {}
    if mistake["type"] == "extra_forbidden":
        nearest = difflib.get_close_matches(key, fields, 1)
        advice = f"Did you mean '{nearest[0]}'?" if nearest else f"Known keys: {', '.join(fields)}"
        return f"{name}: unknown key '{key}'{where}. {advice}"
    if mistake["type"] == "missing" and whole:
        return f"{name}: expected the required key '{key}'{where}, found none. Add a line `{key}: VALUE`"
    advice = (fields[key].description if key in fields else None) or _advice(mistake["type"])
    return f"{name}: '{key}'{where}: expected {_expected(mistake)}, found {_found(mistake['input'])}. {advice}"


def _expected(mistake: Any) -> str:
    if mistake["type"] in ("model_type", "dict_type"):
        return "a section of keys"
    if mistake["type"] in ("missing", "tuple_type", "list_type"):
        return "a list" if mistake["type"] != "missing" else "more values"
    text: str = mistake["msg"]
    if mistake["type"].endswith(("_parsing", "_from_float")):
        text = text.split(", ")[0]
    if mistake["type"] == "path_type":
        text = "a path"
    if mistake["type"] == "string_pattern_mismatch":
        return f"text like {mistake['ctx']['pattern']}"
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    return text


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _advice(kind: str) -> str:
    if kind.startswith("int"):
        return "Write a whole number"
    if kind.startswith("float"):
        return "Write a number such as 0.5"
    if kind in ("tuple_type", "list_type"):
        return "Write a list: [A, B]"
    if kind in ("model_type", "dict_type"):
        return "Write its keys below it, indented"
    return "Correct it"


def _section(model: type[BaseModel], sections: list[str]) -> type[BaseModel] | None:
    """The model of a section, followed down from the document; positions in lists are passed over."""
    for section in sections:
        if not section.isdigit():
            inner = _section_model(model.model_fields[section].annotation)
            if inner is None:
                return None
            model = inner
    return model


def _section_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `Model | None` or `list[Model]`, None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_section_model, get_args(annotation))), None)
