"""Subgraphs for the devices, put together as AMD's compiler does: USER, then DPU and CPU in turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dpu.graph import Attr, Op, Subgraph

DPU_NAME = "DPUCZDX8G_ISA1_B4096"
_CPU_RUNNER = "libvart-cpu-runner.so"
_DPU_RUNNER = {"ref": _CPU_RUNNER, "run": "libvart-dpu-runner.so", "sim": "libvart-sim-runner.so"}


@dataclass
class Level:
    """One subgraph in the making."""

    leaves: list[Subgraph] = field(default_factory=list)  # on the DPU
    names: list[str] = field(default_factory=list)  # on the CPU
    uploads: dict[str, Op] = field(default_factory=dict)  # operator outside -> its upload

    def subgraph(self, ops: Mapping[str, Op]) -> Subgraph:
        """The subgraph of this level's operators, which `ops` has by name."""
        if self.names:
            attrs: dict[str, Any] = {
                "device": Attr("string", "CPU"),
                "runner": Attr("map_string_2_string", dict.fromkeys(_DPU_RUNNER, _CPU_RUNNER)),
                **work(0, 0),
            }
            return Subgraph(f"subgraph_{self.names[0]}", tuple(self.names), attrs)
        inside = [ops[name] for leaf in self.leaves for name in leaf.op_names]
        first = next((op for op in inside if op.value("workload")), inside[0])
        attrs = {
            "device": Attr("string", "DPU"),
            "dpu_name": Attr("string", DPU_NAME),
            "runner": Attr("map_string_2_string", dict(_DPU_RUNNER)),
            "children_topological_sort": Attr("string_vec", tuple(leaf.name for leaf in self.leaves)),
            **_sum(self.leaves),
        }
        return Subgraph(f"subgraph_{first.name}", (), attrs, tuple(self.leaves))


def root_of(name: str, user: list[Subgraph], parts: list[Subgraph]) -> Subgraph:
    """The root over the inputs' subgraphs and the devices'."""
    return Subgraph(name, (), _sum(parts), (*user, *parts))


def work(plain: int, on_arch: int) -> dict[str, Attr]:
    """The two workload attributes."""
    return {"workload": Attr("uint64", plain), "workload_on_arch": Attr("uint64", on_arch)}


def _sum(parts: list[Subgraph]) -> dict[str, Attr]:
    return work(*(sum(part.value(key, 0) for part in parts) for key in ("workload", "workload_on_arch")))
