"""Fit the constants of `dpu.latency` on networks with published ZCU104 and KV260 figures, and say how well they do.

    python scripts/fit_latency_model.py ../shared/data/zcu104/networks.json
    python scripts/fit_latency_model.py ../shared/data/zcu104/networks.json --write    # docs/latency.md and its picture

One-core DPU time is taken as 1 / (KV260 frames a second, several threads), since KV260 has one such core; two-core and
end-to-end figures are ZCU104's. Networks whose figure the CPU limits are left out of the one-core and two-core fits.

Leave-one-network-out predicts each network with constants fitted on all others. Leave-one-architecture-out, stricter,
leaves out all networks of its family too, so that a twin does not give the answer away. `further_networks.py` holds
networks on which nothing is fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from further_networks import PRUNED, ZCU102, further_networks, thinned
from latency_fitting import CPU_LIMITED, STAGES, Network, figures, fit, left_out, load

from dpu.latency import BAND, Constants, predict

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARKS = ("<!-- figures: begin -->\n", "<!-- figures: end -->\n")


@dataclass(frozen=True)
class Sets:
    """The networks of the table, further ones, pruned ones with assumed channels; constants by network name."""

    networks: list[Network]
    further: list[Network]
    thinned: list[Network]
    constants: Constants
    by_network: dict[str, Constants]
    by_family: dict[str, Constants]

    @classmethod
    def of(cls, networks: list[Network]) -> Sets:
        """All fits."""
        constants = fit(networks)
        ours = {network.name: network for network in networks}
        further = [
            Network(f.name, f.layers, f.task, 1, figures(f.kv260_fps, f.zcu104_fps, f.zcu104_fps_1_thread))
            for f in further_networks()
        ]
        pruned = [
            Network(name, thinned(ours[base].layers, gops), ours[base].task, 1, figures(kv260, many, one))
            for name, base, gops, kv260, one, many in PRUNED
            if base in ours
        ]
        by_network = left_out(networks, lambda network: network.name, constants)
        by_family = left_out(networks, lambda network: network.family, constants)
        return cls(networks, further, pruned, constants, by_network, by_family)

    @property
    def fitted(self) -> dict[str, Constants]:
        """The constants fitted on the whole table, for every network."""
        return {network.name: self.constants for network in (*self.networks, *self.further, *self.thinned)}


def report(sets: Sets) -> str:
    """The part of docs/latency.md that is figures."""
    networks, fitted = sets.networks, sets.fitted
    rows = (
        ("leave one network out", networks, sets.by_network),
        ("leave one architecture out", networks, sets.by_family),
        ("marked as pruned, left out", [n for n in networks if n.pruned], sets.by_network),
        ("fitted on all", networks, fitted),
        ("further networks, nothing fitted on them", sets.further, fitted),
        ("AMD's pruned networks, channels assumed", sets.thinned, fitted),
    )
    lines = ["### Errors", "", "| | " + " | ".join(STAGES) + " |", "|---|" + "---|" * len(STAGES)]
    for label, of_row, which in rows:
        lines.append(f"| {label} | " + " | ".join(stated(errors(of_row, stage, which)) for stage in STAGES) + " |")
    lines += ["", "Mean of |predicted / published - 1|. The CPU limits the published figures of"]
    lines += [f"{' and '.join(CPU_LIMITED)}: these are not counted for one and two cores."]
    lines += [zcu102_of(sets)]
    lines += ["", "### Constants", "", "| constant | value |", "|---|--:|"]
    lines += [f"| {field.name} | {getattr(sets.constants, field.name):.4g} |" for field in fields(Constants)]
    lines += ["", band_of(sets)]
    lines += ["", "### Each network, left out", "", *table(networks, sets.by_network)]
    lines += ["", "\\* limited by the CPU, not counted."]
    lines += ["", "### Further networks", "", *table(sets.further, fitted)]
    lines += ["", "### AMD's pruned networks, channels assumed", "", *table(sets.thinned, fitted)]
    return "\n".join(lines) + "\n"


def zcu102_of(sets: Sets) -> str:
    """Errors on another board: three cores, another clock."""
    of_board = {n.name: n for n in sets.networks if n.name in ZCU102}
    forecasts = {
        name: predict(n.layers, "zcu102", task=n.task, constants=sets.constants, isa=n.isa)
        for name, n in of_board.items()
    }
    one = [abs(f.end_to_end_ms_one_thread * ZCU102[name][0] / 1e3 - 1) for name, f in forecasts.items()]
    many = [abs(ZCU102[name][1] / f.fps_all_cores - 1) for name, f in forecasts.items()]
    return f"ZCU102 (three cores at 281 MHz), nothing fitted: end to end {stated(one)}, three cores {stated(many)}."


def band_of(sets: Sets) -> str:
    """The band of one-core time, and how many of the further networks are inside."""
    ratios = [1 / n.ratio("one core", sets.by_family[n.name]) for n in sets.networks if n.counted("one core")]
    low, high = np.quantile(ratios, [0.05, 0.95])
    inside = sum(BAND[0] <= 1 / n.ratio("one core", sets.constants) <= BAND[1] for n in sets.further)
    return (
        "Published / predicted one-core time, leave one architecture out, 5 % to 95 %: "
        f"{low:.3f} to {high:.3f}; the band shown is {BAND[0]:g} to {BAND[1]:g}. "
        f"{inside} of the {len(sets.further)} further networks are inside it."
    )


def errors(networks: Sequence[Network], stage: str, constants: dict[str, Constants]) -> list[float]:
    """|predicted / published - 1| of the networks that count."""
    return [abs(n.ratio(stage, constants[n.name]) - 1) for n in networks if n.counted(stage)]


def stated(values: Sequence[float]) -> str:
    """Mean and worst error."""
    return f"{np.mean(values):.1%} (worst {max(values):.1%}, {len(values)} networks)" if values else "no such network"


def table(networks: Sequence[Network], constants: dict[str, Constants]) -> list[str]:
    """Published, predicted and error of each network and stage, in Markdown."""
    lines = [
        "| network | one core, ms | predicted | error | two cores, fps | predicted | error "
        "| end to end, ms | predicted | error |",
        "|---|" + "--:|" * 9,
    ]
    for network in networks:
        cells = [network.name]
        for stage in STAGES:
            value = network.predicted(stage, constants[network.name])
            error = network.ratio(stage, constants[network.name]) - 1
            star = "" if network.counted(stage) else " \\*"
            cells += [f"{network.published[stage]:.2f}", f"{value:.2f}", f"{error:+.1%}{star}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(sets: Sequence[tuple[str, Sequence[Network], dict[str, Constants]]], path: Path) -> None:
    """Predicted against published times on logarithmic axes, with the lines of 8 % error."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    for axis, stage in zip(axes, ("one core", "end to end"), strict=True):
        for (label, networks, constants), marker in zip(sets, "o^x", strict=True):
            rows = [network for network in networks if network.counted(stage)]
            axis.loglog(
                [network.published[stage] for network in rows],
                [network.predicted(stage, constants[network.name]) for network in rows],
                marker,
                label=label,
                alpha=0.8,
                markersize=6,
            )
        low, high = axis.get_xlim()
        ends = np.array([low, high])
        axis.plot(ends, ends, color="black", linewidth=0.8)
        axis.fill_between(ends, ends * 0.92, ends * 1.08, color="black", alpha=0.1, label="within 8 %")
        axis.set(xlim=(low, high), ylim=(low, high), xlabel="published, ms", ylabel="predicted, ms")
        axis.set_title({"one core": "one core, DPU time", "end to end": "end to end, one thread"}[stage])
        axis.grid(True, which="major", alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Fit, print the constants, the errors and the tables; write them into the docs where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", type=Path, help="networks.json")
    parser.add_argument("--write", action="store_true", help="write the figures into docs/latency.md, and its picture")
    args = parser.parse_args()
    sets = Sets.of(load(args.networks))
    text = report(sets)
    print(text)
    if args.write:
        page = DOCS / "latency.md"
        before, rest = page.read_text(encoding="utf-8").split(MARKS[0])
        _, after = rest.split(MARKS[1])
        page.write_text(before + MARKS[0] + text + MARKS[1] + after, encoding="utf-8")
        left = ("left out", sets.networks, sets.by_network)
        plot(
            (left, ("further", sets.further, sets.fitted), ("pruned, channels assumed", sets.thinned, sets.fitted)),
            DOCS / "images" / "latency-published-predicted.png",
        )


if __name__ == "__main__":
    main()
