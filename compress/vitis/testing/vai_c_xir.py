"""A stand-in for AMD's compiler: writes the lowered graph, without machine code, for the DPU in arch.json.

Faults: `no_front_end` and `unregistered` (exit code 0, an error text, no file), `crash`, `two_subgraphs`,
`other_fingerprint`, `slow`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

from compress.vitis.testing import fault
from dpu import xmodel
from dpu.architecture import decode_fingerprint
from dpu.graph import Attr, Graph, Subgraph
from dpu.lowering import lower

_BANNER = "*" * 50 + "\n* VITIS_AI Compilation - Xilinx Inc.\n" + "*" * 50


def main(argv: list[str]) -> int:
    """Compile; the exit code is 0 in most failures too, as the real one's."""
    parser = argparse.ArgumentParser()
    for flag in ("-x", "-a", "-o", "-n"):
        parser.add_argument(flag, required=True)
    args = parser.parse_args(argv)
    print(_BANNER, flush=True)
    fingerprint = int(json.loads(Path(args.a).read_text())["fingerprint"], 16)
    kind = decode_fingerprint(fingerprint)
    if fault() == "slow":
        time.sleep(60)
    if fault() == "crash":
        print("F1124 compile_pass_manager.cpp: [UNILOG][FATAL][XCOM_UNKNOWN] out of memory", flush=True)
        return 134
    if fault() == "no_front_end":
        print("ERROR: NO FRONT END SPECIFIED")
        return 0
    if fault() == "unregistered" or kind.isa == 0:
        print("[UNILOG][FATAL][TARGET_FACTORY_UNREGISTERED_TARGET][Unregistered target!] Cannot find or create target")
        return 0
    written = 0x101000016010407 if fault() == "other_fingerprint" else fingerprint
    compiled = compiled_form(xmodel.load(args.x), written)
    parts = len(compiled.subgraphs("DPU"))
    total = len(compiled.root.children) if compiled.root else 0
    print(f"[UNILOG][INFO] Total device subgraph number {total}, DPU subgraph number {parts}")
    Path(args.o).mkdir(parents=True, exist_ok=True)
    xmodel.save(compiled, Path(args.o) / f"{args.n}.xmodel")
    print(f'[UNILOG][INFO] The compiled xmodel is saved to "{args.o}/{args.n}.xmodel"')
    return 0


def compiled_form(quantised: Graph, fingerprint: int) -> Graph:
    """The lowered graph with the fingerprint; cut in two DPU subgraphs for that fault."""
    graph, parameters = _with_register(lower(quantised))
    assert graph.root is not None
    attrs = {
        "dpu_fingerprint": Attr("uint64", fingerprint),
        "mc_code": Attr("bytes", b"no machine code: written by a stand-in"),
        "reg_id_to_context_type": Attr("map_string_2_string", {"REG_0": "CONST", "REG_1": "DATA", "REG_2": "DATA"}),
        "reg_id_to_size": Attr("map_string_2_int32", {"REG_0": len(parameters), "REG_1": 1 << 20, "REG_2": 1 << 20}),
        "reg_id_to_parameter_value": Attr("map_string_2_bytes", {"REG_0": parameters}),
    }
    parts: list[Subgraph] = []
    for part in graph.root.children:
        if part.device == "DPU":
            part = replace(part, attrs={**part.attrs, **attrs})
            if fault() == "two_subgraphs":
                half = len(part.children) // 2
                parts.append(replace(part, name=f"{part.name}_0", children=part.children[:half]))
                part = replace(part, name=f"{part.name}_1", children=part.children[half:])
        parts.append(part)
    return replace(graph, root=replace(graph.root, children=tuple(parts)))


def _with_register(graph: Graph) -> tuple[Graph, bytes]:
    """The graph with its constants moved into one block of bytes, at the `ddr_addr` of their tensors."""
    ops, block = [], b""
    for op in graph.ops:
        if op.type == "const-fix":
            place = {"reg_id": Attr("int32", 0), "ddr_addr": Attr("int32", len(block))}
            block += op.typed("data", "bytes")
            tensor = replace(op.output, attrs={**op.output.attrs, **place})
            op = replace(op, attrs={**op.attrs, "data": Attr("bytes", b"")}, output=tensor)
        ops.append(op)
    return replace(graph, ops=ops), block
