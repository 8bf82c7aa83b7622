"""What `roadslim bench run` shall measure: one YAML file, checked key by key.

The models below are the documentation: every key and its default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator

from bench.statistics import P90_SAMPLES
from compress.config import BoardName, checked
from compress.config_complaints import read_yaml

BackendName = Literal["torch_cpu", "onnxruntime_cpu", "torch_cuda", "software_dpu", "dpu"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetChoice(_Section):
    """Pictures for the accuracy."""

    path: Path
    split: str | None = "test"
    ignore: tuple[str, ...] = ()  # classes whose boxes do not count
    map: dict[str, str] = Field(default={}, description="Write lines `OLD: NEW`; several classes may become one")
    countries: tuple[str, ...] = ()  # of RDD2020 and RDD2022; all if empty


class ModelChoice(_Section):
    """One network: a stage folder, .bundle, .onnx or .xmodel; `cfg` where its anchors are not beside it."""

    name: str = Field(min_length=1)
    path: Path
    cfg: Path | None = None


class Plan(_Section):
    """A whole benchmark; paths are relative to the folder in which the command runs.

    The models stand in the table in this order. The accuracy of a float network is measured on the first of the
    backends that takes it, that of a bundle on the software DPU.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    dataset: DatasetChoice | None = None
    models: list[ModelChoice] = Field(min_length=1)
    backends: list[BackendName] = ["torch_cpu", "onnxruntime_cpu", "torch_cuda", "dpu"]
    samples: PositiveInt = P90_SAMPLES + 16
    threads: PositiveInt = 1
    board: BoardName = "zcu104"
    published: bool = True

    @field_validator("models")
    @classmethod
    def _names_differ(cls, models: list[ModelChoice]) -> list[ModelChoice]:
        names = [model.name for model in models]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"every model needs a name of its own, {', '.join(twice)} stands there twice")
        return models


def load_plan(path: Path) -> Plan:
    """Read and check a plan.

    Raises:
        UsageError: no such file, no YAML, an unknown key (with the nearest known one), or a wrong value.
    """
    return checked(Plan, read_yaml(path, "a plan"), str(path))
