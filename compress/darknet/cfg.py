"""Darknet .cfg files: read, check, write.

Source of the format: Redmon, Darknet, pjreddie.com/darknet (src/parser.c), public domain.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from board_app.core.atomic_file import write_text
from board_app.core.errors import InputError
from compress.darknet.section import INPUT, Cfg, Section
from compress.darknet.shapes import LAYER_TYPES, layer_shapes, layer_sources

__all__ = [
    "INPUT",
    "Cfg",
    "Section",
    "cfg_text",
    "layer_shapes",
    "layer_sources",
    "parse_cfg",
    "read_cfg",
    "write_cfg",
]
_NET_TYPES = ("net", "network")


def read_cfg(path: str | os.PathLike[str]) -> Cfg:
    """The checked network description in a file; its name is the file's.

    Raises:
        InputError: the file is not a cfg that we can build, with the line.
        OSError: it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected a Darknet cfg, a text file, found binary content. Name the .cfg."
        ) from error
    return parse_cfg(text, Path(path).name)


def parse_cfg(text: str, name: str) -> Cfg:
    """The checked network description in `text`; `name` is what errors call it.

    Raises:
        InputError: an unknown section, a line that is no option, or layers that do not fit together.
    """
    try:
        sections = _sections(text)
    except InputError as error:
        raise InputError(f"{name}, {error}") from error
    if not sections or sections[0].type not in _NET_TYPES:
        found = f"[{sections[0].type}]" if sections else "no section"
        raise InputError(f"{name}: expected [net] as the first section, found {found}. Name a Darknet cfg.")
    cfg = Cfg(sections[0], tuple(sections[1:]), name)
    layer_shapes(cfg)
    return cfg


def cfg_text(cfg: Cfg) -> str:
    """The description as Darknet reads it; comments of the original are lost."""
    blocks = []
    for section in (cfg.net, *cfg.layers):
        blocks.append("\n".join([f"[{section.type}]", *(f"{key}={value}" for key, value in section.options.items())]))
    return "\n\n".join(blocks) + "\n"


def write_cfg(cfg: Cfg, path: str | os.PathLike[str]) -> None:
    """Write the description to a file, in one step."""
    write_text(path, cfg_text(cfg))


def _sections(text: str) -> list[Section]:
    sections: list[Section] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = "".join(raw.split("#")[0].split())  # Darknet ignores blanks everywhere
        if not line or line.startswith(";"):
            continue
        if line.startswith("["):
            sections.append(Section(_section_type(line, number, first=not sections), {}, number))
            continue
        key, equals, value = line.partition("=")
        if not equals or not key or not sections:
            raise InputError(f"line {number}: expected [section] or key=value, found '{raw.strip()}'. Mend the line.")
        sections[-1].options[key] = value
    return sections


def _section_type(line: str, number: int, first: bool) -> str:
    kind = line.strip("[]")
    known = _NET_TYPES if first else LAYER_TYPES
    kind = "convolutional" if kind == "conv" else kind
    if kind not in known:
        close = difflib.get_close_matches(kind, known, 1)
        hint = f"Did you mean [{close[0]}]?" if close else "Use a network of these layers alone."
        wanted = ", ".join(f"[{name}]" for name in known)
        raise InputError(f"line {number}: expected one of {wanted}, found '{line}'. {hint}")
    return kind
