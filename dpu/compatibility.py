"""Will a model run on a given DPU: every reason why not, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from dpu.architecture import ARCHITECTURES, B4096, FAMILY, Architecture, Board, Fingerprint, decode_fingerprint
from dpu.errors import DpuError
from dpu.graph import Graph, Subgraph
from dpu.lowering import is_quantised, lower
from dpu.operator_limits import Target, limits_exceeded

# A CPU subgraph of these alone is normal: a compiled model's float output. The application reads the DPU's own tensors.
_HARMLESS_ON_CPU = ("fix2float", "download")
_CHANGE = "Change the network so that the DPU can run it, then quantise and compile it again."


@dataclass(frozen=True)
class Reason:
    """Why a model does not run; `code` is for programs.

    `hinders` says whom: the `board` itself, or only the board `application`, which runs one DPU subgraph and nothing
    else (AMD's GraphRunner on the board would run such a model).
    """

    code: str
    message: str
    remedy: str
    hinders: Literal["board", "application"] = "board"


@dataclass(frozen=True)
class Verdict:
    """Whether a model runs, and every reason why not.

    `runs` is for the board, with AMD's GraphRunner where the model has several parts; the board application, which runs
    one DPU subgraph, may need more. `images` are the Vitis AI images with which the board runs it.
    """

    reasons: tuple[Reason, ...]
    images: tuple[str, ...]

    @property
    def runs(self) -> bool:
        """Whether nothing hinders the board itself."""
        return all(reason.hinders == "application" for reason in self.reasons)

    @property
    def runs_in_application(self) -> bool:
        """Whether nothing hinders the board application either."""
        return not self.reasons


def check(graph: Graph, board: Board | None = None, fingerprint: int | None = None) -> Verdict:
    """The verdict for a board with any of its images (`Board.with_image`: one), or for the DPU with a fingerprint."""
    place = _Place(board, fingerprint)
    reasons: list[Reason] = []
    whole: Graph | None = graph
    if is_quantised(graph):
        reasons.append(
            Reason("not_compiled", "The model is quantised but not compiled for a DPU.", place.compile_remedy)
        )
        try:
            whole = lower(graph)
        except DpuError as error:
            whole = None
            reasons.append(Reason("operator", str(error), _CHANGE))
        reasons += _limits(graph, {op.name for op in graph.ops}, place.target)
    elif not graph.subgraphs("DPU"):
        remedy = "Quantise the network (roadslim quantize), then compile it: " + place.compile_remedy
        reasons.append(Reason("no_dpu_subgraph", "No part of the model is for a DPU.", remedy))
    if whole is not None:
        reasons += _several_parts(whole)
        reasons += _cpu_parts(whole)
    images = [image for image in place.accepted if image]
    for subgraph in graph.subgraphs("DPU"):
        images = [image for image in images if image in place.images(subgraph)]
        reasons += _fitting(subgraph, place)
        reasons += _runner_needs(subgraph, place)
    of_family = [part for part in graph.subgraphs("DPU") if place.is_family_of(part)]
    reasons += _limits(graph, {name for part in of_family for name in part.all_op_names()}, place.target)
    reasons = list(dict.fromkeys(reasons))
    verdict = Verdict(tuple(reasons), tuple(images))
    return verdict if verdict.runs else replace(verdict, images=())


class _Place:
    """Where a model is to run: the fingerprints that are right there, by image, and the words for it."""

    def __init__(self, board: Board | None, fingerprint: int | None) -> None:
        self.accepted = {"": fingerprint} if fingerprint is not None else dict(board.fingerprints) if board else {}
        self.newest = list(self.accepted.values())[-1] if self.accepted else None
        decoded = decode_fingerprint(self.newest) if self.newest is not None else None
        self.name = f"board {board.name}" if board and fingerprint is None else "the board"
        self.architecture = _architecture(decoded) or (board.architecture if board else B4096)
        self.family = decoded.family if decoded else FAMILY
        self.target = Target.of(self.architecture, decoded)
        if fingerprint is not None:
            self.compile_remedy = compile_remedy(fingerprint)
        else:
            self.compile_remedy = f"roadslim compile BUNDLE{f' --board {board.name}' if board else ''}"

    def images(self, subgraph: Subgraph) -> list[str]:
        found = subgraph.fingerprint
        return [image for image, value in self.accepted.items() if image and found in (0, value)]

    def is_family_of(self, subgraph: Subgraph) -> bool:
        """Whether a subgraph was compiled for this family, or for none in particular."""
        found = subgraph.fingerprint
        return not found or decode_fingerprint(found).family == self.family

    def fingerprints(self) -> str:
        """`0x1... (Vitis AI 2.5) or 0x2... (Vitis AI 3.0, 3.5)`."""
        images: dict[int, list[str]] = {}
        for image, value in self.accepted.items():
            images.setdefault(value, []).extend([image] if image else [])
        return " or ".join(f"0x{v:x}" + (f" (Vitis AI {', '.join(i)})" if i else "") for v, i in images.items())


def compile_remedy(fingerprint: int) -> str:
    """What gives a model for the DPU with a fingerprint: a command, or a sentence where there is none."""
    dpu = decode_fingerprint(fingerprint)
    if dpu.compilable:
        return f"roadslim compile BUNDLE --fingerprint {dpu.hexadecimal}"
    if dpu.expired:
        return (
            "Vitis AI 2.5 and later do not compile for this DPU of ISA 0: compile by hand with 2.0 (docs/vitis.md), or "
            "give the board the image of 2.5 or newer."
        )
    return (
        f"`roadslim compile` does not make models for {dpu.hexadecimal} ({dpu.family}, ISA {dpu.isa}): compare it with "
        "`xdputil query` on the board."
    )


def _architecture(decoded: Fingerprint | None) -> Architecture | None:
    return ARCHITECTURES.get(decoded.size or "") if decoded else None


def _several_parts(graph: Graph) -> Iterator[Reason]:
    parts = graph.subgraphs("DPU")
    if len(parts) > 1:
        names = ", ".join(part.name for part in parts)
        yield Reason(
            "several_dpu_subgraphs",
            f"The model is cut into {len(parts)} DPU subgraphs ({names}). AMD's GraphRunner runs them in turn.",
            "Replace the operators between them by ones the DPU has.",
            "application",
        )


def _cpu_parts(graph: Graph) -> Iterator[Reason]:
    ops = graph.op_by_name()
    for subgraph in graph.subgraphs("CPU"):
        kinds = sorted({ops[name].type for name in subgraph.all_op_names()} - {*_HARMLESS_ON_CPU, "const"})
        if kinds:
            yield Reason(
                "cpu_operator",
                f"Subgraph {subgraph.name} runs on the CPU ({', '.join(kinds)}). AMD's GraphRunner "
                "runs it; custom operators need their library on the board.",
                "Replace these operators by ones the DPU has, or cut the network before them.",
                "application",
            )


def _fitting(subgraph: Subgraph, place: _Place) -> Iterator[Reason]:
    """Family, fingerprint and size of one compiled subgraph."""
    found = subgraph.fingerprint
    decoded = decode_fingerprint(found) if found else None
    compiled_for = f"Subgraph {subgraph.name} was compiled for"
    if decoded and not place.is_family_of(subgraph):
        message = f"{compiled_for} {decoded.family} (0x{found:x}); {place.name} has {place.family}."
        yield Reason("family", message, place.compile_remedy)
        return
    if decoded and place.accepted and found not in place.accepted.values():
        age = " (ISA 0, expired since Vitis AI 2.5)" if decoded.expired else ""
        message = (
            f"{compiled_for} DPU 0x{found:x}{age}, but {place.name} has {place.fingerprints()}. "
            "The board's runtime would end with: CHECK fingerprint fail! model_fingerprint "
            f"0x{found:x} is un-matched with actual dpu_fingerprint 0x{place.newest:x}. Please re-compile xmodel with "
            f"dpu_fingerprint 0x{place.newest:x} and try again."
        )
        yield Reason("fingerprint", message, place.compile_remedy)
    size = _architecture(decoded)
    if size is not None and size.ops_per_cycle > place.architecture.ops_per_cycle:
        message = f"{compiled_for} a {size.name}; {place.name} has a smaller one, a {place.architecture.name}."
        yield Reason("dpu_size", message, place.compile_remedy)


def _limits(graph: Graph, names: set[str], target: Target) -> Iterator[Reason]:
    for op, why in limits_exceeded(graph, names, target):
        message = f"Operator {op.name} ({op.type}) {why} on a {target.architecture.name} of ISA {target.isa}."
        yield Reason("operator_limit", message, _CHANGE)


def _runner_needs(subgraph: Subgraph, place: _Place) -> Iterator[Reason]:
    """What AMD's runner reads from a DPU subgraph and would abort without."""
    kinds = subgraph.typed("reg_id_to_context_type", "map_string_2_string", {})
    sizes = subgraph.typed("reg_id_to_size", "map_string_2_int32", {})
    values = subgraph.typed("reg_id_to_parameter_value", "map_string_2_bytes", {})
    missing = []
    if not kinds:
        missing.append("reg_id_to_context_type")
    if sum(size for key, size in sizes.items() if kinds.get(key) == "DATA") <= 0:
        missing.append("reg_id_to_size of its DATA registers")
    missing += [f"reg_id_to_parameter_value of {key}" for key in kinds if kinds[key] == "CONST" and key not in values]
    if not subgraph.typed("mc_code", "bytes", b""):
        missing.append("mc_code, the DPU's instructions")
    if missing:
        message = f"DPU subgraph {subgraph.name} lacks {'; '.join(missing)}. The board's runner needs it."
        yield Reason("incomplete_subgraph", message, place.compile_remedy)


def verdict_lines(file: str, target: str, verdict: Verdict) -> Iterator[str]:
    """The verdict in words, those reasons first that hinder the board itself."""
    images = f" with the image of Vitis AI {' or '.join(verdict.images)}" if verdict.images else ""
    if verdict.runs:
        yield f"{file} runs on {target}{images}."
    hindered = {
        "board": f"{file} does not run on {target}:",
        "application": "The board application, which runs one DPU subgraph and nothing else, does not run it:",
    }
    for hinders, words in hindered.items():
        reasons = [reason for reason in verdict.reasons if reason.hinders == hinders]
        if reasons:
            yield words
        for reason in reasons:
            yield f"  {reason.code}: {reason.message}"
            yield f"    remedy: {reason.remedy}"
