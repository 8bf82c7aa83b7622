"""Will a model run on a given DPU: every reason why not, with the remedy."""

from __future__ import annotations

from dataclasses import dataclass

from dpu.architecture import Board, decode_fingerprint
from dpu.errors import DpuError
from dpu.graph import Graph
from dpu.lowering import is_quantised, lower

# A CPU subgraph of these alone is normal: a compiled model's float output. The application reads the DPU's own tensors.
_HARMLESS_ON_CPU = ("fix2float", "download")


@dataclass(frozen=True)
class Reason:
    """Why a model does not run; `code` is for programs."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """Whether a model runs, and if not, every reason; `images` are the board's Vitis AI images it was compiled for."""

    runs: bool
    reasons: tuple[Reason, ...]
    images: tuple[str, ...]


def check(graph: Graph, board: Board | None = None, fingerprint: int | None = None) -> Verdict:
    """The verdict for a board with one of its stock images, or for exactly the DPU with a fingerprint."""
    reasons: list[Reason] = []
    accepted = {"": fingerprint} if fingerprint is not None else dict(board.fingerprints) if board else {}
    target = f"DPU 0x{fingerprint:x}" if fingerprint is not None else f"board {board.name}" if board else "any DPU"
    recompile = f"Compile NAME_int.xmodel with vai_c_xir for {target}, as in docs/limits.md, 'What is not there yet'."
    subgraphs = graph.subgraphs("DPU")
    if is_quantised(graph):
        reasons.append(Reason("not_compiled", "The model is quantised but not compiled for a DPU.", recompile))
        try:
            lower(graph)
        except DpuError as error:
            reasons.append(Reason("operator", str(error), "Change the network so that the DPU can run it."))
    elif not subgraphs:
        reasons.append(Reason("no_dpu_subgraph", "No part of the model is for a DPU.", "Quantise and compile it."))
    if len(subgraphs) > 1:
        names = ", ".join(subgraph.name for subgraph in subgraphs)
        reasons.append(
            Reason(
                "several_dpu_subgraphs",
                f"The model is cut into {len(subgraphs)} DPU subgraphs ({names}); the board application runs one.",
                "Replace the operators between them by ones the DPU has.",
            )
        )
    reasons += _cpu_reasons(graph)
    images: list[str] = []
    for subgraph in subgraphs:
        found = int(subgraph.typed("dpu_fingerprint", "uint64", 0))
        if not accepted or not found or found in accepted.values():
            images += [image for image, value in accepted.items() if image and found in (0, value)]
            continue
        ours = next(iter(accepted.values()))
        family, wanted = decode_fingerprint(found).family, decode_fingerprint(ours).family
        if family != wanted:
            message = f"Subgraph {subgraph.name} was compiled for {family} (0x{found:x}); {target} has a {wanted}."
            reasons.append(Reason("family", message, recompile))
        else:
            has = ", ".join(sorted({f"0x{value:x}" for value in accepted.values()}))
            message = f"Subgraph {subgraph.name} was compiled for DPU 0x{found:x}, but {target} has {has}."
            reasons.append(Reason("fingerprint", message, recompile))
    return Verdict(not reasons, tuple(reasons), tuple(dict.fromkeys(images)) if not reasons else ())


def _cpu_reasons(graph: Graph) -> list[Reason]:
    ops = graph.op_by_name()
    reasons = []
    for subgraph in graph.subgraphs("CPU"):
        kinds = sorted({ops[name].type for name in subgraph.all_op_names()} - {*_HARMLESS_ON_CPU, "const"})
        if kinds:
            message = f"Subgraph {subgraph.name} runs on the CPU ({', '.join(kinds)})."
            reasons.append(Reason("cpu_operator", message, "Replace these operators by ones the DPU has."))
    return reasons
