"""What a search varies: settings, sampled by Optuna and put into a config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from board_app.core.errors import UsageError
from compress.config import CompressConfig, SearchConfig, checked

if TYPE_CHECKING:
    from optuna.trial import Trial

Settings = dict[str, Any]

# The key in [search] and where its value belongs in the config.
_CHOICES = {
    "input_hw": ("network", "input_hw"),
    "width": ("network", "width"),
    "blocks": ("prune", "blocks"),
    "sparsify_epochs": ("sparsify", "epochs"),
}
_RANGES = {
    "strength": ("sparsify", "strength"),
    "channels": ("prune", "channels"),
    "target_ms": ("prune", "target_ms"),
    "target_params": ("prune", "target_params"),
}
_NO_SPARSE_TRAINING = "nothing is trained sparse with 'importance: reconstruction' in [prune]"
_WHOLE_NUMBERS = ("target_params",)
_LOGARITHMIC = ("strength", "target_ms", "target_params")  # ten per cent more means the same all over the range


def sample(trial: Trial, search: SearchConfig) -> Settings:
    """The settings of a trial: new ones, or those that it was given when it was taken up again."""
    settings: Settings = {}
    for key in _CHOICES:
        choices = getattr(search, key)
        if choices is not None:
            named = {str(choice): choice for choice in choices}  # Optuna stores text or numbers, no tuples
            settings[key] = named[trial.suggest_categorical(key, list(named))]
    for key in _RANGES:
        limits = getattr(search, key)
        if limits is not None:
            suggest = trial.suggest_int if key in _WHOLE_NUMBERS else trial.suggest_float
            settings[key] = suggest(key, *limits, log=key in _LOGARITHMIC)
    return settings


def with_settings(
    config: CompressConfig, settings: Settings, name: str, runs: Path, epochs_share: float = 1.0
) -> dict[str, Any]:
    """The document of a run with these settings, as YAML has it: what the config says, less its search.

    Args:
        config: what holds for everything else.
        settings: as `sample` gives them.
        name: of the run.
        runs: the folder that the run's folder is made in.
        epochs_share: so much of every stage's epochs, at least one each.
    """
    document = config.model_dump(mode="json", exclude_unset=True, exclude={"search"})
    document |= {"name": name, "runs": str(runs)}
    for key, value in settings.items():
        section, field = (_CHOICES | _RANGES)[key]
        document.setdefault(section, {})[field] = list(value) if isinstance(value, tuple) else value
    if not settings.keys().isdisjoint(("target_ms", "target_params")):
        document["prune"].pop("channels", None)  # which does not count beside them
    if epochs_share != 1:
        _shorten(document, config, epochs_share)
    return document


def _shorten(document: dict[str, Any], config: CompressConfig, share: float) -> None:
    trainings = {name: document.setdefault(name, {}) for name in ("train", "sparsify", "distill")}
    for name, section in trainings.items():
        section["epochs"] = _part(section.get("epochs", getattr(config, name).epochs), share)
    for part, key in (("quantize", "fine_tune"), ("prune", "between")):
        training = getattr(getattr(config, part), key)
        if training:
            document[part][key]["epochs"] = _part(training.epochs, share)


def _part(epochs: int, share: float) -> int:
    return max(1, round(share * epochs))


def check_space(config: CompressConfig) -> None:
    """Refuse before the first trial what no trial could have.

    Raises:
        UsageError: nothing varies, or a choice or an end of a range is no value of its key.
    """
    if all(getattr(config.search, key) is None for key in _CHOICES | _RANGES):
        raise UsageError(
            f"[search]: expected something to vary, one of {', '.join(_CHOICES | _RANGES)}, found nothing. "
            "Write a range or choices, as in configs/search-demo.yaml"
        )
    for key, value in _corners(config.search):
        name = f"[search] {key}, its {value}"
        checked(CompressConfig, with_settings(config, {key: value}, config.name, config.runs), name)
    prune = config.prune
    for key, idle, instead in (
        ("width", config.network.cfg, "'cfg' in [network] names a network of its own widths"),
        ("strength", config.sparsify.method != "scheduled", "'method' in [sparsify] has no strength"),
        *((key, prune.importance != "gamma", _NO_SPARSE_TRAINING) for key in ("strength", "sparsify_epochs")),
        ("channels", prune.target_ms or prune.target_params or prune.target_gmacs, "a target in [prune] decides"),
    ):
        if getattr(config.search, key) is not None and idle:
            raise UsageError(f"[search] {key}: expected a setting that counts, but {instead}. Leave out one of them")


def _corners(search: SearchConfig) -> Iterator[tuple[str, Any]]:
    for key in _CHOICES | _RANGES:
        for value in getattr(search, key) or ():
            yield key, value


def described(settings: Settings) -> str:
    """Settings in a line."""
    return ", ".join(f"{key} {_text(value)}" for key, value in settings.items())


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
