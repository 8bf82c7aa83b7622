"""Every setting that holds for a run, and where it comes from: what `--print-config` shows."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel

DEFAULT, FLAG = "default", "flag"
_COMMENT_COLUMN = 48


def setting_origins(config: BaseModel, source: str, flags: Collection[str] = ()) -> dict[str, str]:
    """By dotted key (`train.epochs`) where a setting comes from: `source`, "default", or "flag" if it is in `flags`."""
    origins: dict[str, str] = {}
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, BaseModel):
            origins |= {f"{key}.{inner}": origin for inner, origin in setting_origins(value, source).items()}
        else:
            origins[key] = source if key in config.model_fields_set else DEFAULT
    return origins | {key: FLAG for key in flags}


def config_yaml(config: BaseModel, source: str, flags: Collection[str] = ()) -> str:
    """The settings as a YAML file that says the same, each with a comment that tells where it comes from."""
    origins = setting_origins(config, source, flags)
    return "\n".join(_lines(config.model_dump(mode="json"), origins, "", "")) + "\n"


def config_document(config: BaseModel, source: str, flags: Collection[str] = ()) -> dict[str, Any]:
    """For JSON: `config`, and by dotted key `origins`."""
    return {"config": config.model_dump(mode="json"), "origins": setting_origins(config, source, flags)}


def _lines(values: dict[str, Any], origins: dict[str, str], section: str, indent: str) -> list[str]:
    lines = []
    for key, value in values.items():
        if section + key not in origins:
            lines += [f"{indent}{key}:", *_lines(value, origins, f"{section}{key}.", indent + "  ")]
        else:
            lines.append(f"{indent + key + ': ' + json.dumps(value):<{_COMMENT_COLUMN}} # {origins[section + key]}")
    return lines
