"""Condense results/ into results/summary.md: the marks of the project, met or not, and the tables.

python experiments/speed/summary.py
"""

import json
from pathlib import Path

from tabulate import tabulate

from monarch_sciml.evaluation.results import as_float

HERE = Path(__file__).parent / "results"


def rows_of(folder):
    import csv

    with (HERE / folder / "results.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pick(rows, **wanted):
    """The first row with these values."""
    for row in rows:
        if all(str(row[key]) == str(value) for key, value in wanted.items()):
            return row
    raise SystemExit(f"no row with {wanted}")


def by_time(row):
    """Times faster, elapsed with quartiles and by processor time."""
    ratio, low, high, cpu = (
        as_float(row[key]) for key in ("ratio", "ratio_q1", "ratio_q3", "cpu_ratio")
    )
    return f"{ratio:.2f} ({low:.2f}–{high:.2f}), CPU {cpu:.2f}"


def verdict(value, mark, *, at_most=False):
    return "met" if (value <= mark if at_most else value >= mark) else "NOT met"


def layer_marks():
    rows = [row for row in rows_of("layer-2d") if row["scan"] == "grid"]
    marks = {
        "forward+backward": {32: 1.6, 64: 1.6, 128: 2.3, 256: 4.0, 512: 4.0},
        "forward": {32: 1.7, 64: 1.7, 128: 2.3, 256: 5.0, 512: 5.0},
    }
    for kind, sizes in marks.items():
        for n, mark in sizes.items():
            row = pick(rows, **{"pass": kind, "grid": n, "candidate": "Monarch"})
            yield (
                f"layer {n}², {kind}, against neuralop",
                f"≥ {mark}x",
                by_time(row),
                verdict(as_float(row["ratio"]), mark),
            )
    for kind in marks:
        for n in marks[kind]:
            ours = pick(rows, **{"pass": kind, "grid": n, "candidate": "Monarch"})
            pruned = pick(rows, **{"pass": kind, "grid": n, "candidate": "pruned FFT"})
            value = as_float(pruned["seconds"]) / as_float(ours["seconds"])
            cpu = as_float(pruned["cpu_seconds"]) / as_float(ours["cpu_seconds"])
            text = f"{value:.2f}, CPU {cpu:.2f}"
            yield f"layer {n}², {kind}, against pruned FFT", "≥ 1.3x", text, verdict(value, 1.3)
    row = pick(rows, **{"pass": "forward+backward", "grid": 256, "candidate": "Monarch"})
    peak = as_float(row["peak_ratio"])
    yield "layer 256², peak memory", "≤ 0.4x", f"{peak:.2f}", verdict(peak, 0.4, at_most=True)
    rows = rows_of("layer-3d")
    for n in (32, 64):
        row = pick(rows, **{"pass": "forward+backward", "grid": n, "candidate": "Monarch"})
        yield (
            f"layer {n}³, forward+backward, against neuralop",
            "≥ 2x",
            by_time(row),
            verdict(as_float(row["ratio"]), 2),
        )


def other_marks():
    rows = rows_of("model")
    for batch in (8, 16):
        chosen = {"pass": "training step", "grid": 64, "batch": batch}
        row = pick(rows, **chosen, candidate="Monarch-NO")
        limit = pick(rows, **chosen, candidate="no spectral layer")
        text = f"{by_time(row)}; limit {as_float(limit['ratio']):.2f}"
        yield (
            f"FNO training step 64², batch {batch}",
            "≥ 1.4x",
            text,
            verdict(as_float(row["ratio"]), 1.4),
        )
    rows = rows_of("mri")
    for matrix in dict.fromkeys(row["matrix"] for row in rows):
        row = pick(rows, matrix=matrix, candidate="mSENSE")
        times = 1 / as_float(row["ratio"])
        text = f"{times:.2f}x, CPU {1 / as_float(row['cpu_ratio']):.2f}x"
        yield (
            f"mSENSE {matrix}, time of shifted fft2c SENSE",
            "≤ 1.5x",
            text,
            verdict(times, 1.5, at_most=True),
        )
        for mask in ("1-D mask", "2-D mask"):
            kind = f"data consistency, {mask}"
            row = pick(rows, matrix=matrix, **{"pass": kind}, candidate="SenseOperator.normal")
            yield f"{kind}, {matrix}", "≥ 2x", by_time(row), verdict(as_float(row["ratio"]), 2)


def layer_table(folder, grids, unit):
    rows = rows_of(folder)
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    lines = []
    for kind in ("forward", "forward+backward"):
        for n in grids:
            line = {"pass": kind, "grid": f"{n}{unit}"}
            for name in names:
                row = pick(rows, scan="grid", grid=n, candidate=name, **{"pass": kind})
                ms, ratio = 1e3 * as_float(row["seconds"]), as_float(row["ratio"])
                line[name] = f"{ms:.3g} ms" + ("" if name == "neuralop" else f" ({ratio:.2f}x)")
            peak = pick(rows, scan="grid", grid=n, candidate="Monarch", **{"pass": kind})
            line["peak memory"] = f"{as_float(peak['peak_ratio']):.2f}x"
            lines.append(line)
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def roofline_table():
    machine = json.loads((HERE / "layer-2d" / "machine.json").read_text())
    peak = max(machine["gemm"], machine["gemm_fast"])
    lines = []
    for row in rows_of("layer-2d"):
        if row["scan"] != "grid" or row["candidate"] not in ("neuralop", "pruned FFT", "Monarch"):
            continue
        n_bytes, operations = as_float(row["work_bytes"]), as_float(row["work_operations"])
        seconds = as_float(row["cpu_seconds"])
        least = max(n_bytes / machine["copy"], operations / peak)
        lines.append(
            {
                "pass": row["pass"],
                "grid": f"{row['grid']}²",
                "candidate": row["candidate"],
                "GB/s": f"{n_bytes / seconds / 1e9:.2f}",
                "GFLOP/s": f"{operations / seconds / 1e9:.1f}",
                "of the roof": f"{100 * least / seconds:.0f} %",
                "bound by": "copy" if n_bytes / machine["copy"] > operations / peak else "GEMM",
            }
        )
    lines.sort(key=lambda line: line["pass"])
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def plain_table(folder, case, extra=()):
    """Every row of a folder: milliseconds, times faster than the baseline, further columns."""
    lines = []
    for row in rows_of(folder):
        line = {key: row[key] for key in (*case, "pass", "candidate")}
        line["ms"] = f"{1e3 * as_float(row['seconds']):.3g}"
        line["times faster"] = f"{as_float(row['ratio']):.2f}"
        line["by CPU time"] = f"{as_float(row['cpu_ratio']):.2f}"
        line.update({key: f"{as_float(row[key]):.3g}" for key in extra})
        lines.append(line)
    return tabulate(lines, headers="keys", tablefmt="github", disable_numparse=True)


def corrected_marks():
    """Time and memory of the corrected transform in units of neuralop's, by processor time."""
    rows = [row for row in rows_of("layer-2d-corrected") if row["pass"] == "forward+backward"]
    steps = [row for row in rows_of("model-corrected") if row["pass"] == "training step"]
    for n, layer, step in ((32, 2.5, 1.8), (64, 1.2, 1.1), (128, 0.8, 0.9)):
        found = pick(rows, grid=n, candidate="corrected")
        time = 1 / as_float(found["cpu_ratio"])
        memory = as_float(found["peak_ratio"])
        yield f"layer {n}²", f"≤ {layer}x", f"{time:.2f}x", verdict(time, layer, at_most=True)
        yield (
            f"layer {n}², peak memory", "≤ 1.0x", f"{memory:.2f}x",
            verdict(memory, 1.0, at_most=True),
        )  # fmt: skip
        time = 1 / as_float(pick(steps, grid=n, candidate="corrected")["cpu_ratio"])
        verdict_ = verdict(time, step, at_most=True)
        yield f"FNO training step {n}²", f"≤ {step}x", f"{time:.2f}x", verdict_


def main():
    marks = tabulate(
        [*layer_marks(), *other_marks()],
        headers=["what", "mark", "times faster (quartiles)", ""],
        tablefmt="github",
        disable_numparse=True,
    )
    corrected = tabulate(
        list(corrected_marks()),
        headers=["what", "mark", "time of neuralop's", ""],
        tablefmt="github",
        disable_numparse=True,
    )
    parts = ["# Marks", marks]
    parts += ["# Marks of the corrected transform, rank 2, on a shared machine", corrected]
    parts += ["# Layer, two axes, one thread"]
    parts += [layer_table("layer-2d", (32, 64, 128, 256, 512), "²")]
    parts += ["# Layer, two axes, two threads"]
    parts += [layer_table("layer-2d-2threads", (32, 64, 128, 256, 512), "²")]
    parts += ["# Layer, two axes, one thread, glibc told to keep freed memory"]
    parts += [layer_table("layer-2d-kept-memory", (32, 64, 128, 256), "²")]
    parts += ["# Two batched products, the usual way to program Monarch"]
    parts += [layer_table("layer-2d-two-bmm", (32, 64, 128), "²")]
    parts += ["# Layer, three axes, one thread", layer_table("layer-3d", (32, 64), "³")]
    parts += ["# Full transforms of 16 images", plain_table("transform", ["size"])]
    parts += ["# Whole networks, 64² and 128²", plain_table("model", ["grid", "batch"])]
    parts += ["# MRI, 16 coils", plain_table("mri", ["matrix"], ["slices_per_second"])]
    kept = plain_table("mri-kept-memory", ["matrix"], ["slices_per_second"])
    parts += ["# MRI, 16 coils, glibc told to keep freed memory", kept]
    generation = plain_table("generate", ["grid"], ["trajectories_per_minute", "error"])
    parts += ["# Navier-Stokes", generation]
    parts += ["# Loading", plain_table("load", ["grid", "batch"], ["samples_per_second"])]
    parts += ["# Roofline of the layer, one thread, by processor time", roofline_table()]
    text = "\n\n".join(parts) + "\n"
    (HERE / "summary.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
