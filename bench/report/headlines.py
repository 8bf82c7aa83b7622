"""The few figures at the top of the report: what making the detector small has brought and cost."""

from __future__ import annotations

from dataclasses import dataclass

from bench.summary import Row, Summary, label_of
from bench.table import three_digits


@dataclass(frozen=True)
class Headline:
    """One large figure.

    Attributes:
        doubt: why it is not to be trusted, "" where it is; such a figure is not shown large.
    """

    value: str
    what: str
    detail: str
    origin: str
    doubt: str = ""


def headlines(summary: Summary) -> list[Headline]:
    """From the largest network to the final one: the one with an int8 form, else the last; empty where they are one.

    Speeds that are INVALID come last.
    """
    if len(summary.rows) < 2:
        return []
    before = max(summary.rows, key=lambda row: row.params or 0)
    after = next((row for row in reversed(summary.rows) if row.map50_int8), summary.rows[-1])
    if after is before:
        return []
    found = [_parameters(before, after), _accuracy(before, after)]
    found += [_speed(before, after, backend) for backend in summary.backends]
    return sorted((headline for headline in found if headline), key=lambda headline: bool(headline.doubt))


def _parameters(before: Row, after: Row) -> Headline | None:
    if not before.params or not after.params:
        return None
    detail = f"{before.params:,} → {after.params:,}"
    return Headline(f"{100 * (1 - after.params / before.params):.1f} %", "fewer parameters", detail, "counted")


def _accuracy(before: Row, after: Row) -> Headline | None:
    last = after.map50_int8 or after.map50_float
    if not before.map50_float or not last:
        return None
    points = 100 * (last.value - before.map50_float.value)
    kind = "int8" if after.map50_int8 else "float"
    detail = f"{100 * before.map50_float.value:.1f} % float → {100 * last.value:.1f} % {kind}"
    return Headline(f"{points:+.1f}".replace("-", "−"), "points of mAP50", detail, last.origin)


def _speed(before: Row, after: Row, backend: str) -> Headline | None:
    old, new = before.latency_ms.get(backend), after.latency_ms.get(backend)
    if not old or not new:
        return None
    detail = f"{three_digits(old.p50)} → {three_digits(new.p50)} ms"
    invalid = [latency for latency in (old, new) if latency.verdict == "INVALID"]
    kinds = dict.fromkeys(reason.split(":")[0] for latency in invalid for reason in latency.reasons)
    doubt = f"INVALID: {', '.join(kinds) or 'no reason given'}" if invalid else ""
    return Headline(f"{old.p50 / new.p50:.1f}×", f"faster on {label_of(backend)}", detail, new.origin, doubt)
