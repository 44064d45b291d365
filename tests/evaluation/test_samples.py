import math

import numpy as np
import pytest
import torch
from scipy.stats import sem

from monarch_sciml.evaluation import ComparisonTable, samples_table
from monarch_sciml.evaluation.samples import sample_rows

PSNR = {"U-Net": [[30.0, 33.0, 35.0], [31.0, 34.0, 34.0]], "mSENSE": [[36.0, 37.0, 35.0]] * 2}


def rows_of(values, unit="volume"):
    return [
        row
        for name, seeds in values.items()
        for seed, psnr in enumerate(seeds)
        for row in sample_rows(
            {"network": name, "seed": seed}, {"psnr": torch.tensor(psnr)}, unit=unit
        )
    ]


def table_of(values):
    rows = [
        {"network": name, "seed": seed, "psnr": np.mean(psnr), "epochs": 1}
        for name, seeds in values.items()
        for seed, psnr in enumerate(seeds)
    ]
    return ComparisonTable.from_rows(rows, ["psnr"])


def line_of(text, network):
    return next(line for line in text.splitlines() if line.startswith(f"| {network} "))


def test_every_sample_of_a_run_is_a_row_and_names_are_kept():
    metrics = {"nmse": torch.tensor([0.1, 0.2]), "psnr": torch.tensor([31.0, 30.0])}
    rows = sample_rows({"network": "U-Net", "seed": 3}, metrics, unit="sample")
    assert [row["sample"] for row in rows] == [0, 1]
    assert list(rows[1]) == ["network", "seed", "sample", "nmse", "psnr"]
    assert rows[1]["psnr"] == 30.0
    assert sample_rows({"network": "U-Net"}, {}, unit="sample") == []
    named = sample_rows({}, metrics, unit="volume", names=["a.h5", "b.h5"])
    assert [row["volume"] for row in named] == ["a.h5", "b.h5"]


def test_the_standard_error_is_that_of_the_means_over_seeds():
    text = samples_table(table_of(PSNR), rows_of(PSNR), unit="volume")
    means = np.mean(PSNR["U-Net"], axis=0)
    assert f"{means.mean():.2f} ± {sem(means):.2f}" == "32.83 ± 1.20"
    cells = [cell.strip() for cell in line_of(text, "U-Net").strip("|").split("|")]
    assert cells == ["U-Net", "3", "32.8 ± 1.2"]
    assert f"± {sem([36, 37, 35]):.2f}" in line_of(text, "mSENSE")
    assert "| network   |   volumes |" in text and "psnr (dB) ↑" in text
    assert "±: standard error of the mean over test volumes, s / sqrt(n)" in text


def test_one_volume_has_no_standard_error():
    one = {name: [psnr[:1] for psnr in seeds] for name, seeds in PSNR.items()}
    text = samples_table(table_of(one), rows_of(one), unit="volume")
    assert "One test volume, hence no standard error." in text and "±" not in text
    assert "30.50" in line_of(text, "U-Net")


def test_failures_are_left_out_and_counted():
    values = {"U-Net": [[30.0, math.nan, 34.0], [32.0, math.nan, math.inf]]}
    line = line_of(samples_table(table_of(PSNR), rows_of(values, "sample"), unit="sample"), "U-Net")
    assert "(1 of 3 failed)" in line
    assert f"32.5 ± {sem([31.0, 34.0]):.1f}" in line
    nothing = line_of(
        samples_table(table_of(PSNR), rows_of(values, "sample"), unit="sample"), "mSENSE"
    )
    assert nothing.split("|")[2].strip() == "0" and "failed" in nothing


@pytest.mark.parametrize("n", [2, 7])
def test_means_over_samples_equal_those_over_seeds(n):
    generator = np.random.default_rng(n)
    values = {"A": generator.normal(30, 2, (3, n)).tolist()}
    text = samples_table(table_of(values), rows_of(values, "sample"), unit="sample")
    shown = float(line_of(text, "A").split("|")[3].split("±")[0])
    assert shown == pytest.approx(table_of(values)["A"].metrics["psnr"].mean, rel=5e-3)
