"""The settings of a compression run: one YAML file, checked key by key.

The models below are the documentation: every key, its unit and its default.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from board_app.core.errors import UsageError
from compress.config_complaints import complaint, read_yaml
from compress.shares import parse_share

Model = TypeVar("Model", bound=BaseModel)


def _share(value: Any) -> Any:
    """Take `85%` as 0.85."""
    return parse_share(value) if isinstance(value, str) else value


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, lt=1, description="Write 50% or 0.5")]
Chance = Annotated[float, BeforeValidator(_share), Field(ge=0, le=1, description="Write 50% or 0.5")]
Range = Annotated[
    tuple[Annotated[float, BeforeValidator(_share)], Annotated[float, BeforeValidator(_share)]],
    Field(description="Write a range: [LOW, HIGH]"),
]
Precision = Literal["float32", "bf16", "fp16", "auto"]
WholeRange = Annotated[tuple[PositiveInt, PositiveInt], Field(description="Write a range: [LOW, HIGH]")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_board(name: str) -> str:
    from dpu.architecture import BOARDS

    if name not in BOARDS:
        raise ValueError(f"expected one of {', '.join(BOARDS)}")
    return name


BoardName = Annotated[str, AfterValidator(_known_board)]


def _one_or_two_paths(value: Any) -> Any:
    return [value] if isinstance(value, str | Path) else value


NetworkFiles = Annotated[
    tuple[Path, ...],
    BeforeValidator(_one_or_two_paths),
    Field(min_length=1, max_length=2, description="Write a stage folder, or [CFG, WEIGHTS]"),
]


class NetworkConfig(_Section):
    """Which network; `cfg` names a Darknet file and then `topology` does not count."""

    topology: Literal["yolov3", "yolov3-tiny"] = "yolov3"
    cfg: Path | None = None
    width: float = Field(default=1.0, gt=0, le=1)  # factor on every layer's filters but the heads', to multiples of 8;
    # `weights` must be of that width
    input_hw: tuple[PositiveInt, PositiveInt] = Field(
        default=(416, 416), description="Write two multiples of 32: [HEIGHT, WIDTH]"
    )
    leaky_slope: float = Field(default=0.1015625, ge=0, lt=1)  # 26/256: the only slope that the DPU has
    weights: Path | None = None  # .weights or .safetensors; heads of other classes and what it lacks start fresh
    anchors: Literal["auto", "cfg"] = "auto"  # fitted to the training boxes, or as the cfg says

    @field_validator("input_hw")
    @classmethod
    def _input_fits_the_strides(cls, input_hw: tuple[int, int]) -> tuple[int, int]:
        if any(side % 32 for side in input_hw):
            raise ValueError("expected multiples of 32")
        return input_hw


class AugmentConfig(_Section):
    """How training images vary; 0 turns a kind off."""

    flip: Chance = 0.5
    translate: Share = 0.1  # of the image size
    scale: Share = 0.2  # 0.2: between 80 % and 120 %
    brightness: Share = 0.3
    contrast: Share = 0.3
    saturation: Share = 0.3
    mosaic: Chance = 0.0  # of the pictures are made of parts of four
    flip_swaps: tuple[tuple[str, str], ...] = Field(
        default=(), description="Write pairs of classes that become each other in a mirror: [[LEFT, RIGHT]]"
    )
    flip_never: tuple[str, ...] = ()  # classes whose pictures are not mirrored


class TrainingConfig(_Section):
    """One training; the learning rate rises linearly over `warmup_share` of the steps, then falls as a cosine."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 16  # pictures of an optimiser step, of all processes together
    micro_batch: PositiveInt | None = None  # of them go through the network at once; null: all of a process
    statistics_batch: PositiveInt | None = None  # of them share batch statistics, a divisor of micro_batch; null: as
    # many as go through at once. With it results depend neither on micro_batch nor on the number of processes
    precision: Precision = "float32"  # of the network's products; fp16 needs a GPU; auto: bf16 where the machine has
    # instructions for it, else float32
    learning_rate: float = Field(default=0.002, gt=0)
    warmup_share: Share = 0.05
    weight_decay: float = Field(default=0.0005, ge=0)  # on convolution weights only
    ema_steps: PositiveInt = 100  # the averaged weights, which are evaluated and kept, look back about so many steps
    multi_scale: tuple[int, int] | None = Field(
        default=None, description="Write the smallest and largest longer side in pixels, multiples of 32: [256, 512]"
    )  # drawn anew every 10 steps; null: always the network's input
    evaluate_every: PositiveInt = 1  # epochs between two mAP figures; the last epoch always has one
    patience: PositiveInt | None = None  # evaluations without a better mAP50 that end it, with the best weights kept
    checkpoint_minutes: float | None = Field(default=None, gt=0)  # between checkpoints; one ends every epoch anyway

    @field_validator("multi_scale")
    @classmethod
    def _sides(cls, sides: tuple[int, int] | None) -> tuple[int, int] | None:
        if sides and (sides[0] > sides[1] or sides[0] < 32 or any(side % 32 for side in sides)):
            raise ValueError("expected multiples of 32, the smaller first")
        return sides

    @field_validator("statistics_batch")
    @classmethod
    def _divisor(cls, statistics_batch: int | None, info: ValidationInfo) -> int | None:
        micro_batch = info.data.get("micro_batch")
        if statistics_batch and micro_batch and micro_batch % statistics_batch:
            raise ValueError(f"expected a divisor of micro_batch {micro_batch}")
        return statistics_batch

    def result_settings(self) -> dict[str, Any]:
        """The settings that the weights follow from: not how a batch is cut where that changes nothing."""
        free = {"checkpoint_minutes"} | ({"micro_batch"} if self.statistics_batch else set())
        return self.model_dump(mode="json", exclude=free)


class TaughtTrainingConfig(TrainingConfig):
    """Training with a teacher, by the weights of what its answers add to the loss (docs/compress/distillation.md)."""

    teacher_objectness: float = Field(default=1.0, ge=0)  # all of them 0: no teacher
    teacher_classes: float = Field(default=1.0, ge=0)
    teacher_boxes: float = Field(default=1.0, ge=0)
    teacher_features: float = Field(default=1.0, ge=0)  # where in the picture the layers before the heads look

    @property
    def has_teacher(self) -> bool:
        """Whether any term has a weight."""
        terms = self.teacher_objectness, self.teacher_classes, self.teacher_boxes, self.teacher_features
        return any(terms)


class SparsifyConfig(TaughtTrainingConfig):
    """Training that also drives to zero what the next stage will cut (docs/compress/sparsity.md).

    Its teacher is the network that it starts from.
    """

    teacher_objectness: float = Field(default=0.0, ge=0)
    teacher_classes: float = Field(default=0.0, ge=0)
    teacher_boxes: float = Field(default=0.0, ge=0)
    teacher_features: float = Field(default=0.0, ge=0)

    method: Literal["scheduled", "proximal", "constant"] = "scheduled"
    strength: float = Field(default=0.0, ge=0)  # scheduled: so much of its group's mean size every channel is pulled
    warm_share: Share = 0.05  # scheduled: of the growing time, before the first channels are chosen
    fade_share: Share = 0.04  # scheduled: of the steps, in which a chosen channel fades to zero
    recover_share: Share = 0.25  # scheduled, proximal: of the steps, the last, with all zeros in place
    target_share: Share | None = None  # proximal: of the gammas at zero; null: as many as the prune stage would cut
    l1: float = Field(default=0.001, ge=0)  # constant: added to every gamma's gradient, once an optimiser step
    l1_after_half: Literal["same", "hundredth", "spare_top"] = "same"  # constant: of the steps

    @field_validator("patience")
    @classmethod
    def _to_its_end(cls, patience: int | None) -> int | None:
        if patience is not None:
            raise ValueError("expected null: only at its end are all the zeros there")
        return patience


def _block_count(value: Any) -> Any:
    """A whole number or `auto`."""
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if value != "auto" and not (type(value) is int and value >= 0):
        raise ValueError("expected a whole number from 0, or auto")
    return value


BlockCount = Annotated[int | Literal["auto"], BeforeValidator(_block_count)]


class PruneConfig(_Section):
    """What the prune stage cuts and the sparse training aims at."""

    method: Literal["cost", "slimming"] = "cost"  # slimming: the published way, to compare with
    importance: Literal["gamma", "reconstruction"] = "gamma"  # of a channel: its scale, made small by sparse training;
    # reconstruction: how much of what is read it explains over pictures, without sparse training
    channels: Share = 0.85
    blocks: BlockCount = Field(default="auto", description="Write how many, or auto")  # auto: none without a target,
    # else as many as pay
    min_share: Share = 0.01  # of every convolution's channels at least this stays, and
    min_channels: PositiveInt = 4  # at least so many
    width_multiple: PositiveInt | None = None  # of kept widths; null: 8 with a target, else 1
    target_params: PositiveInt | None = None  # instead of `channels`: cut as little as reaches so many parameters,
    target_gmacs: float | None = Field(default=None, gt=0)  # so many 1e9 multiply-accumulates an image,
    target_ms: float | None = Field(default=None, gt=0)  # and so many predicted milliseconds on the DPU of
    board: BoardName = "zcu104"
    prefer: Literal["speed", "accuracy"] = "speed"  # of cuts down to params or gmacs: the fast, or what loses least
    recalibration_images: int = Field(default=256, ge=0)  # of training: over so many what stays makes up for what goes
    # where that is at work, and BN statistics are taken anew after the cut; 0: neither
    rounds: PositiveInt = 1  # the cut is reached in so many steps,
    between: TrainingConfig | None = None  # the network trained like this between two of them
    floor_map50: Share | None = None  # of a round's cut, before it trains: one below ends them, the last above is kept

    @model_validator(mode="after")
    def _slimming_takes_a_share(self) -> PruneConfig:
        targets = (self.target_params, self.target_gmacs, self.target_ms)
        if self.method == "slimming" and (any(targets) or self.width_multiple not in (None, 1)):
            raise ValueError("expected no target and no width_multiple beside method slimming")
        return self

    @model_validator(mode="after")
    def _reconstruction_sees_pictures(self) -> PruneConfig:
        if self.importance == "reconstruction" and (self.method == "slimming" or not self.recalibration_images):
            raise ValueError(
                "expected method cost and some recalibration_images beside importance reconstruction, found method "
                f"{self.method} and {self.recalibration_images}. Correct them, or take `importance: gamma`"
            )
        return self

    @model_validator(mode="after")
    def _between_rounds(self) -> PruneConfig:
        if self.rounds == 1 and (self.between or self.floor_map50 is not None):
            raise ValueError("expected rounds of at least 2 beside between or floor_map50")
        return self

    def result_settings(self) -> dict[str, Any]:
        """What the cut follows from; what was cut before there was `importance` is what it is by gamma."""
        return self.model_dump(mode="json", exclude={"importance"} if self.importance == "gamma" else set())


class DistillConfig(TaughtTrainingConfig):
    """Fine-tuning of the pruned network on the labels and on a teacher's answers (docs/compress/distillation.md)."""

    teacher: Literal["train", "sparsify"] | NetworkFiles = "train"  # a stage of this run, or any network of such heads
    rewind: bool = False  # begin with the weights of [network], cut alike, instead of the pruned network's own

    def result_settings(self) -> dict[str, Any]:
        """As of any training; what was fine-tuned before there was `rewind` is what it is without."""
        settings = super().result_settings()
        return settings if self.rewind else {key: value for key, value in settings.items() if key != "rewind"}


class QuantizeConfig(_Section):
    """Int8 calibration on training images; with `fine_tune` the int8 network then trains on, on the DPU's grid."""

    images: PositiveInt = 64
    batch_size: PositiveInt = 8
    bias_correction: bool = True  # of the calibration; training on moves the biases by itself
    equalization: Literal["nndct", "activations", "off"] = "nndct"  # of channels: along ReLU chains, or by activations
    calibration_target: Literal["tensor", "outputs"] = "tensor"  # each tensor's own error, or the heads' (minutes)
    fine_tune: TrainingConfig | None = None

    @field_validator("fine_tune")
    @classmethod
    def _on_the_grid(cls, fine_tune: TrainingConfig | None) -> TrainingConfig | None:
        if fine_tune and fine_tune.precision != "float32":
            raise ValueError("expected precision float32, in which the DPU's grid is exact")
        return fine_tune


class GivenConfig(_Section):
    """Networks that are there already, each a stage folder or [CFG, WEIGHTS], and stand for a stage's result.

    That stage, and what nothing else needs before it, is not run.
    """

    train: NetworkFiles | None = None  # the network to make sparse, or with reconstruction to prune; the usual teacher
    sparsify: NetworkFiles | None = None  # the network to prune
    prune: NetworkFiles | None = None  # the network to fine-tune
    distill: NetworkFiles | None = None  # the network to quantise


class BundleConfig(_Section):
    """What the board starts with."""

    confidence_threshold: float = Field(default=0.3, gt=0, lt=1)
    iou_threshold: float = Field(default=0.45, gt=0, lt=1)
    max_detections: PositiveInt = 100


class SearchConfig(_Section):
    """What `roadslim search` varies, each parameter where its key is written, and what a trial costs.

    A parameter without a key here stays as the rest of the config says. Sizes, widths and epochs are choices, so that
    trials share trained networks.
    """

    input_hw: tuple[tuple[PositiveInt, PositiveInt], ...] | None = Field(
        default=None, description="Write choices: [[HEIGHT, WIDTH], [HEIGHT, WIDTH]]"
    )
    width: tuple[float, ...] | None = Field(default=None, description="Write choices: [0.125, 0.25]")
    blocks: tuple[BlockCount, ...] | None = Field(default=None, description="Write choices: [0, 4, 8]")
    sparsify_epochs: tuple[PositiveInt, ...] | None = Field(default=None, description="Write choices: [100, 300]")
    strength: Range | None = None  # of the sparse training
    channels: Range | None = None  # the share to prune; or
    target_ms: Range | None = None  # the predicted DPU time to prune down to, and
    target_params: WholeRange | None = None  # the parameters
    epochs_share: Annotated[float, BeforeValidator(_share), Field(gt=0, le=1)] = 0.25  # of every stage's, in a trial
    evaluate: Literal["int8", "float"] = "int8"  # which mAP50 counts; `float` leaves out the quantize stage
    stop_early: int = Field(default=4, ge=0)  # a trial behind the median of so many no slower ones ends; 0: none does

    @field_validator("input_hw", "width", "blocks", "sparsify_epochs")
    @classmethod
    def _one_choice_at_least(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        if value is not None and not value:
            raise ValueError("expected one choice at least")
        return value

    @field_validator("strength", "channels", "target_ms", "target_params")
    @classmethod
    def _low_comes_first(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] < value[1]:
            raise ValueError("expected 0 < LOW < HIGH")
        return value

    @model_validator(mode="after")
    def _one_says_how_much_to_prune(self) -> SearchConfig:
        if self.channels and (self.target_ms or self.target_params):
            raise ValueError("expected `channels` alone, or targets: `target_ms`, `target_params` or both")
        return self


class CompressConfig(_Section):
    """A whole run; paths are relative to the folder in which the command runs."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="Write letters, digits, '.', '_' and '-' only"
    )
    data: Path
    map_classes: dict[str, str] = Field(
        default={}, description="Write lines `OLD: NEW`; several classes may become one"
    )
    ignore_classes: tuple[str, ...] = ()  # left out; their pictures stay
    countries: tuple[str, ...] = ()  # of RDD2020 and RDD2022, by the pictures' names: Japan_000001.jpg; all if empty
    runs: Path = Path("runs")
    seed: int = Field(default=1, ge=0)
    threads: int = Field(default=0, ge=0)  # of torch; 0: one a core
    workers: PositiveInt = 1  # threads that load pictures while the network computes
    cache_mb: int = Field(default=1024, ge=0)  # MB of decoded pictures kept, of training and of validation each
    network: NetworkConfig = NetworkConfig()
    augment: AugmentConfig = AugmentConfig()
    train: TrainingConfig = TrainingConfig()
    sparsify: SparsifyConfig = SparsifyConfig()
    prune: PruneConfig = PruneConfig()
    distill: DistillConfig = DistillConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    given: GivenConfig = GivenConfig()
    bundle: BundleConfig = BundleConfig()
    search: SearchConfig = SearchConfig()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.runs / self.name


def load_config(path: Path, flags: Mapping[str, Any] | None = None) -> CompressConfig:
    """Read and check a configuration file.

    Args:
        path: the file.
        flags: by dotted key (`given.train`) what holds instead of what the file says.
    Raises:
        UsageError: no such file, no YAML, an unknown key (with the nearest known one), or a value out of range;
            everything that is wrong is named at once.
    """
    document = read_yaml(path, "a configuration file")
    for dotted, value in (flags or {}).items():
        section, _, key = dotted.rpartition(".")
        if section and not isinstance(document.setdefault(section, {}), dict):
            break  # which is told below
        (document[section] if section else document)[key] = value
    return checked(CompressConfig, document, str(path))


def checked(model: type[Model], document: dict[str, Any], name: str) -> Model:
    """Build a model from a parsed document, or raise UsageError with one line for every mistake in it."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise UsageError("\n".join(complaint(model, mistake, name) for mistake in error.errors())) from error
