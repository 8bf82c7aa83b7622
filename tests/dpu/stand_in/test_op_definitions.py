"""The table of XIR's operators against the definitions that a real file carries."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from dpu import xmodel

SERIAL_V2 = Path(__file__).parents[1] / "serial_v2_pb2.py"


def real_definitions(path: Path) -> list[Any]:
    """The OpDef messages in a file, read with XIR's own declaration of the format."""
    spec = importlib.util.spec_from_file_location("serial_v2_pb2", SERIAL_V2)
    assert spec is not None and spec.loader is not None
    serial_v2 = sys.modules.setdefault("serial_v2_pb2", importlib.util.module_from_spec(spec))
    if not hasattr(serial_v2, "Graph"):
        spec.loader.exec_module(serial_v2)
    message = serial_v2.Graph()
    message.ParseFromString(path.read_bytes())
    return list(message.op_defs)


def default_of(attribute: Any) -> tuple[str, Any]:
    stored = attribute.default_value.WhichOneof("value")
    value = getattr(attribute.default_value, stored)
    value = value.value if hasattr(value, "value") else value
    return stored[:-6], tuple(value) if stored.endswith("_vec_value") else value


def test_the_table_is_that_of_a_real_file(amd: Any, shared_data: Path) -> None:
    """All 106 built-in operators of 3.0: inputs, how often, attributes, kinds, lengths, defaults; and a made-up one."""
    op_definitions = sys.modules["xir.op_definitions"]
    real = real_definitions(shared_data / "xmodels" / "zcu104_vai3.0_pointpillars.xmodel")
    assert {one.name for one in real} ^ set(op_definitions.BUILT_IN) == {"PPScatterV2"}
    for one in real:
        ours = op_definitions.definition(one.name)
        assert [(a.name, a.occurs) for a in ours.arguments] == [(a.name, "1?*+"[a.occur_type]) for a in one.input_args]
        assert {a.name for a in ours.attributes} == {a.name for a in one.attrs}
        by_name = {a.name: a for a in ours.attributes}
        for theirs in one.attrs:
            mine, (kind, default) = by_name[theirs.name], default_of(theirs)
            assert (mine.kind, mine.required) == (kind, theirs.occur_type == 0), (one.name, mine.name)
            assert mine.length == (theirs.list_length if kind.endswith("_vec") else 0), (one.name, mine.name)
            assert mine.required or mine.default == default, (one.name, mine.name)


@pytest.mark.parametrize("name", ["quantised_only_voxelnet_int", "zcu104_vai3.0_pointpillars"])
def test_real_operators_fit_their_definitions(amd: Any, shared_data: Path, name: str) -> None:
    """What the quantiser and the compiler wrote has every required attribute and is stored as the definition says."""
    op_definitions = sys.modules["xir.op_definitions"]
    for op in xmodel.load(shared_data / "xmodels" / f"{name}.xmodel").ops:
        for attribute in op_definitions.definition(op.type).attributes:
            assert attribute.name in op.attrs or not attribute.required, (op.name, attribute.name)
            if attribute.name in op.attrs:
                assert op.attrs[attribute.name].kind == attribute.kind, (op.name, attribute.name)
