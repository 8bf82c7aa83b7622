"""List files: the images of a split, one a line."""

from __future__ import annotations

from pathlib import Path

from compress.data.problems import Problem


def listed(list_file: Path, problems: list[Problem]) -> list[tuple[str, int]]:
    """The names in a list file with their line numbers, each once; what is wrong goes to `problems`."""
    try:
        lines = list_file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        problems.append(Problem(list_file, None, "expected a list of images, found no such file. Write it"))
        return []
    except UnicodeDecodeError as error:
        problems.append(Problem(list_file, None, f"expected a list of images, found no text ({error}). Replace it"))
        return []
    first_line: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        name = line.strip()
        if name in first_line:
            message = f"expected every image once, found {name} here and in line {first_line[name]}. Remove one"
            problems.append(Problem(list_file, number, message))
        elif name:
            first_line[name] = number
    return list(first_line.items())
