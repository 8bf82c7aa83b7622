"""Pascal VOC labels, one XML file an image, as RDD2022 ships them.

Coordinates are taken as they are written, in pixels (RDD2022 counts from 1 in some countries, from 0 in others; the
difference of one pixel is below the care of any annotator). Document type declarations are refused, so an entity can
neither read files nor grow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from compress.data.class_map import ClassMap
from compress.data.image_size import IMAGE_SUFFIXES, NoImageError, image_size_hw
from compress.data.list_file import listed
from compress.data.problems import Complaint, Corners, Problem
from compress.data.sample import Sample, box_in_image, sample_of, stated_size_complaint

_LARGEST_FILE_BYTES = 10 << 20
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class VocError(ValueError):
    """The text is no annotation; the message has the three parts, `line` the place."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Element:
    """An XML element with the line on which it starts."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str) -> Iterator[Element]:
        """The children of that name."""
        return (child for child in self.children if child.tag == tag)

    def first(self, tag: str) -> Element | None:
        """The first child of that name, or None."""
        return next(self.all(tag), None)


def parse_xml(content: bytes) -> Element:
    """The document's root element.

    Raises:
        VocError: no well-formed XML, or one with a document type declaration.
    """
    parser = expat.ParserCreate()
    document = Element("", 0)
    stack = [document]

    def start(tag: str, _attributes: dict[str, str]) -> None:
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_tag: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].text += text

    def doctype(*_declaration: object) -> None:
        message = "expected an annotation without <!DOCTYPE>, found one. Remove it: entities are not read"
        raise VocError(message, parser.CurrentLineNumber)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        found = expat.ErrorString(error.code)
        raise VocError(f"expected well-formed XML, found {found}. Replace the file", error.lineno) from error
    except VocError:
        raise
    except (LookupError, ValueError) as error:  # an encoding that expat does not know, or one of several bytes
        raise VocError(f"expected XML in UTF-8, found {error}. Save it in UTF-8", 1) from error
    return document.children[0]


def read_annotation(path: Path) -> Element:
    """The `annotation` element of a file.

    Raises:
        VocError: it is missing, too large, no XML, or holds something else.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _LARGEST_FILE_BYTES else b""
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VocError("expected an annotation in this file, found no such file. Label the image", None) from error
    if size > _LARGEST_FILE_BYTES:
        raise VocError(f"expected an annotation of some kilobytes, found {size} bytes. Replace the file", None)
    root = parse_xml(content)
    if root.tag != "annotation":
        raise VocError(f"expected <annotation>, found <{root.tag}>. Replace the file", root.line)
    return root


def read_voc_split(root: Path, source: Path, classes: ClassMap, problems: list[Problem]) -> list[Sample]:
    """The samples of a VOC folder or of a list file of image names in one; what is wrong goes to `problems`."""
    folder = source if source.is_dir() else root
    images = {path.stem: path for path in voc_images(folder)}
    annotations = annotation_folder(folder)
    if annotations is None:
        problems.append(Problem(folder, None, "expected a folder Annotations or annotations/xmls, found none"))
        return []
    if source.is_dir():
        stems = sorted(set(images) | {path.stem for path in annotations.glob("*.xml")})
    else:
        stems = [_stem(name.split()[0]) for name, _ in listed(source, problems)]
    samples = []
    for stem in stems:
        path = annotations / f"{stem}.xml"
        image_path = images.get(stem)
        if image_path is None:
            message = f"expected an image {stem}.jpg (or .png …) beside its annotation, found none. Add or remove one"
            problems.append(Problem(path, None, message))
            continue
        try:
            samples.append(_sample(read_annotation(path), path, image_path, classes, problems))
        except VocError as error:
            problems.append(Problem(path, error.line, str(error)))
        except NoImageError as error:
            problems.append(Problem(image_path, None, f"expected an image, found {error}. Replace or remove it"))
    return samples


def annotation_folder(folder: Path) -> Path | None:
    """Where a VOC folder keeps its XML files: VOC's own place or RDD2022's."""
    for name in ("Annotations", "annotations/xmls", "annotations"):
        if (folder / name).is_dir() and any((folder / name).glob("*.xml")):
            return folder / name
    return None


def voc_images(folder: Path) -> list[Path]:
    """The image files of a VOC folder in name order."""
    places = [folder / name for name in ("JPEGImages", "images") if (folder / name).is_dir()]
    return sorted(p for place in places for p in place.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def voc_class_names(annotations: Path) -> set[str]:
    """Every class name that occurs in a folder of annotations; files that are wrong do not count here."""
    names = set()
    for path in annotations.glob("*.xml"):
        try:
            found = [element.first("name") for element in read_annotation(path).all("object")]
        except VocError:
            continue  # read_voc_split tells about it
        names |= {name.text.strip() for name in found if name is not None and name.text.strip()}
    return names


def _stem(word: str) -> str:
    """The image's name without folder and suffix; RDD names have no dots of their own, others may."""
    path = Path(word)
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name


def _sample(root: Element, path: Path, image_path: Path, classes: ClassMap, problems: list[Problem]) -> Sample:
    size_hw = image_size_hw(image_path)
    stated = root.first("size")
    if stated is not None:
        height, width = (_integer(stated.first(tag)) for tag in ("height", "width"))
        complaint = stated_size_complaint((height, width), size_hw, image_path)
        if complaint is not None:
            problems.append(complaint.at(path, stated.line, image_path))
            return sample_of(image_path, [], [])
    boxes, class_ids = [], []
    for element in root.all("object"):
        name = element.first("name")
        label = name.text.strip() if name is not None else ""
        try:
            class_id = classes.id_of(label)
        except KeyError:
            listing = ", ".join(classes.classes)
            message = (
                f"expected one of the classes {listing}, found {label!r}. Mend the name, or map or ignore the class"
            )
            problems.append(Complaint(message, unknown_class=label or "''").at(path, element.line, image_path))
            continue
        if class_id is None:
            continue
        box = _box(element, size_hw)
        if isinstance(box, Complaint):
            problems.append(box.at(path, element.line, image_path))
            continue
        boxes.append(box)
        class_ids.append(class_id)
    return sample_of(image_path, boxes, class_ids)


def _box(element: Element, size_hw: tuple[int, int]) -> Corners | Complaint:
    bounds = element.first("bndbox")
    if bounds is None:
        return Complaint("expected <bndbox> in <object>, found none. Mend or remove the object")
    corners = []
    for tag in _CORNERS:
        found = bounds.first(tag)
        try:
            value = float(found.text) if found is not None else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            text = "none" if found is None else repr(found.text.strip())
            return Complaint(f"expected a number as <{tag}>, found {text}. Mend or remove the object")
        corners.append(value)
    xmin, ymin, xmax, ymax = corners
    return box_in_image((xmin, ymin, xmax, ymax), size_hw)


def _integer(element: Element | None) -> int | None:
    try:
        return int(float(element.text)) if element is not None else None
    except (ValueError, OverflowError):  # OverflowError: infinity
        return None
