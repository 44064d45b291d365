import math

import numpy as np
import pytest

from monarch_sciml.evaluation import ComparisonTable, Summary, read_rows

FNO = [0.200, 0.210, 0.196]
MONARCH = [0.104, 0.120, 0.095]


def trained(network, errors, **more):
    return [
        {
            "network": network,
            "seed": seed,
            "rel_l2": error,
            "n_parameters": 1000,
            "seconds_per_epoch": 1.0 + seed,
            "seconds": 50.0,
            "epochs": 50,
            **more,
        }
        for seed, error in enumerate(errors)
    ]


def untrained(network, **metrics):
    return {"network": network, "seed": None, "n_parameters": 0, **metrics}


@pytest.fixture
def pde():
    rows = trained("FNO", FNO) + trained("Monarch-NO", MONARCH, n_parameters=1200)
    return ComparisonTable.from_rows(rows, ["rel_l2"], baseline="FNO")


@pytest.fixture
def mri():
    rows = [
        untrained("zero-filled", nmse=0.08, psnr=24.0, ssim=0.80),
        untrained("CG-SENSE", nmse=0.01, psnr=33.0, ssim=0.95),
        {"network": "mSENSE", "seed": 0, "nmse": 0.02, "psnr": 30.0, "ssim": 0.90, "epochs": 9},
        {"network": "mSENSE", "seed": 1, "nmse": 0.04, "psnr": 28.0, "ssim": 0.88, "epochs": 9},
    ]
    return ComparisonTable.from_rows(rows, ["nmse", "psnr", "ssim"], baseline="zero-filled")


def test_means_and_spreads_equal_numpy(pde):
    for name, values in (("FNO", FNO), ("Monarch-NO", MONARCH)):
        summary = pde[name].metrics["rel_l2"]
        assert summary.mean == pytest.approx(np.mean(values), rel=1e-12)
        assert summary.spread == pytest.approx(np.std(values, ddof=1), rel=1e-12)
        assert (summary.n_runs, summary.n_failed) == (3, 0)
    assert pde["Monarch-NO"].n_parameters == 1200
    assert pde["FNO"].seconds_per_epoch == pytest.approx(2.0)


def test_change_is_relative_for_errors_and_a_difference_for_qualities(pde, mri):
    expected = 100 * (np.mean(MONARCH) - np.mean(FNO)) / np.mean(FNO)
    assert pde.change("Monarch-NO", "rel_l2") == pytest.approx(expected, rel=1e-12)
    assert pde.change("FNO", "rel_l2") is None
    assert mri.change("mSENSE", "nmse") == pytest.approx(100 * (0.03 - 0.08) / 0.08)
    assert mri.change("mSENSE", "psnr") == pytest.approx(29.0 - 24.0)
    assert mri.change("mSENSE", "ssim") == pytest.approx(0.89 - 0.80)


def test_paired_ratio_equals_numpy_over_the_common_seeds():
    rows = trained("FNO", FNO)[::-1] + trained("Monarch-NO", [*MONARCH, 0.3])
    table = ComparisonTable.from_rows(rows, ["rel_l2"], baseline="FNO")
    ratio = np.array(MONARCH) / np.array(FNO)  # seed 3 has no partner, order does not matter
    paired = table.paired("Monarch-NO", "rel_l2")
    assert paired.mean == pytest.approx(ratio.mean(), rel=1e-12)
    assert paired.spread == pytest.approx(ratio.std(ddof=1), rel=1e-12)
    assert paired.n_runs == 3
    assert table.paired("FNO", "rel_l2") is None


def test_paired_difference_for_a_quality():
    rows = [
        {"network": name, "seed": seed, "psnr": value}
        for name, values in (("a", [30.0, 31.0]), ("b", [32.0, 32.5]))
        for seed, value in enumerate(values)
    ]
    paired = ComparisonTable.from_rows(rows, ["psnr"], baseline="a").paired("b", "psnr")
    assert paired.mean == pytest.approx(1.75)
    assert paired.spread == pytest.approx(np.std([2.0, 1.5], ddof=1))


def test_untrained_methods_have_no_seeds_no_spread_and_no_pairs(mri):
    assert mri["CG-SENSE"].trained is False
    assert mri["CG-SENSE"].metrics["nmse"].spread is None
    assert mri["CG-SENSE"].seconds_per_epoch is None
    assert mri.paired("mSENSE", "nmse") is None
    row = next(line for line in mri.to_text().splitlines() if line.startswith("CG-SENSE"))
    assert row.split()[1] == "–" and "±" not in row


def test_an_untrained_method_evaluated_with_every_seed_has_no_spread_unless_it_varies():
    rows = [untrained("zero-filled", nmse=0.08) | {"seed": seed} for seed in range(3)]
    table = ComparisonTable.from_rows(rows, ["nmse"])
    assert table["zero-filled"].metrics["nmse"] == Summary(pytest.approx(0.08), None, 3, 0)
    rows[1]["nmse"] = 0.09  # for example other masks with every seed
    assert ComparisonTable.from_rows(rows, ["nmse"])["zero-filled"].metrics["nmse"].spread > 0


def test_one_seed_shows_no_spread():
    table = ComparisonTable.from_rows(trained("FNO", [0.2]), ["rel_l2"])
    assert table["FNO"].metrics["rel_l2"].spread is None
    assert "±" not in table.to_text()
    assert "no spread" in table.to_text()


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, ""])
def test_a_failed_run_is_shown_not_dropped(bad):
    rows = trained("FNO", FNO) + trained("Monarch-NO", [0.1, bad, 0.12])
    rows += trained("U-Net", [bad]) + trained("ResNet", [bad, bad])
    table = ComparisonTable.from_rows(rows, ["rel_l2"], baseline="FNO")
    summary = table["Monarch-NO"].metrics["rel_l2"]
    assert (summary.mean, summary.n_runs, summary.n_failed) == (pytest.approx(0.11), 3, 1)
    assert table.change("Monarch-NO", "rel_l2") is None
    assert table.best("rel_l2") == ("FNO",)  # a smaller mean over survivors does not win
    assert table.paired("Monarch-NO", "rel_l2").n_failed == 1
    for text in (table.to_text(), table.to_markdown()):
        assert "(1 of 3 failed)" in text
        assert "failed (2 of 2)" in text
        line = next(line for line in text.splitlines() if "U-Net" in line)
        assert "failed" in line
        assert "Failed runs" in text


def test_best_follows_the_direction_of_the_metric(mri):
    assert mri.best("nmse") == mri.best("psnr") == mri.best("ssim") == ("CG-SENSE",)
    rows = [{"network": name, "score": value} for name, value in (("a", 1), ("b", 2), ("c", 2))]
    assert ComparisonTable.from_rows(rows, ["score"]).best("score") == ("a",)
    table = ComparisonTable.from_rows(rows, ["score"], lower_is_better=())
    assert table.best("score") == ("b", "c")  # a tie is shared
    assert ComparisonTable.from_rows(rows[:1], ["score"]).best("score") == ()


def test_markdown_marks_the_best_and_shows_losses_like_gains(mri):
    lines = mri.to_markdown().splitlines()
    assert lines[0].count("vs zero-filled") == 3
    assert "nmse ↓" in lines[0] and "psnr (dB) ↑" in lines[0] and "ssim ↑" in lines[0]
    assert set(lines[1]) <= set("|-:")
    cg = next(line for line in lines if line.startswith("| CG-SENSE"))
    assert "**33.00**" in cg and "+9.00 dB" in cg and "-87.5 %" in cg
    assert sum(line.count("**") for line in lines) == 2 * 3
    assert len({line.count("|") for line in lines[:5]}) == 1


def test_a_loss_against_the_baseline_is_shown():
    rows = trained("FNO", FNO) + trained("worse", [2 * x for x in FNO])
    text = ComparisonTable.from_rows(rows, ["rel_l2"], baseline="FNO").to_text()
    worse = [line for line in text.splitlines() if line.startswith("worse")]
    assert "+100 %" in worse[0] and "*" not in worse[0]
    assert "2.00 ± 0.00" in worse[1]  # the paired ratio


def test_unequal_budgets_are_shown_as_a_column():
    rows = trained("FNO", FNO) + trained("Monarch-NO", MONARCH, epochs=80)
    text = ComparisonTable.from_rows(rows, ["rel_l2"]).to_text()
    assert "epochs" in text.splitlines()[0]
    assert "Training budget" not in text
    rows = trained("FNO", FNO) + trained("Monarch-NO", MONARCH)
    assert "Training budget: 50 epochs" in ComparisonTable.from_rows(rows, ["rel_l2"]).to_text()


def test_pipes_in_names_do_not_break_markdown():
    table = ComparisonTable.from_rows([{"network": "a|b", "err": 1.0}], ["err"])
    assert "a\\|b" in table.to_markdown() and "a|b" in table.to_text()


def test_csv_holds_the_unrounded_numbers(pde, tmp_path):
    pde.to_csv(tmp_path / "table.csv")
    rows = {row["network"]: row for row in read_rows(tmp_path / "table.csv")}
    assert list(rows) == ["FNO", "Monarch-NO"]
    ours = rows["Monarch-NO"]
    assert ours["rel_l2"] == pde["Monarch-NO"].metrics["rel_l2"].mean
    assert ours["rel_l2_std"] == pde["Monarch-NO"].metrics["rel_l2"].spread
    assert ours["rel_l2_change"] == pde.change("Monarch-NO", "rel_l2")
    assert ours["rel_l2_paired"] == pde.paired("Monarch-NO", "rel_l2").mean
    assert (ours["n_seeds"], ours["rel_l2_failed"], ours["n_parameters"]) == (3, 0, 1200)
    assert rows["FNO"]["rel_l2_change"] is None


def test_a_table_read_from_csv_equals_the_one_in_memory(pde, tmp_path):
    from monarch_sciml.evaluation import write_rows

    rows = trained("FNO", FNO) + trained("Monarch-NO", MONARCH, n_parameters=1200)
    write_rows(rows, tmp_path / "results.csv")
    again = ComparisonTable.from_rows(
        read_rows(tmp_path / "results.csv"), ["rel_l2"], baseline="FNO"
    )
    assert again == pde


def test_bad_rows_say_what_is_wrong():
    rows = trained("FNO", FNO)
    with pytest.raises(ValueError, match="at least one row"):
        ComparisonTable.from_rows([], ["rel_l2"])
    with pytest.raises(ValueError, match="`baseline` must be one of 'FNO', got 'fno'"):
        ComparisonTable.from_rows(rows, ["rel_l2"], baseline="fno")
    with pytest.raises(ValueError, match=r"`metrics` must be one of .*'rel_l2'.* got 'h1'"):
        ComparisonTable.from_rows(rows, ["h1"])
    with pytest.raises(ValueError, match="one row per seed, got seeds 0, 1, 2, 0"):
        ComparisonTable.from_rows([*rows, rows[0]], ["rel_l2"])
    with pytest.raises(ValueError, match="one number of parameters, got 5, 1000"):
        ComparisonTable.from_rows([*rows[:2], rows[2] | {"n_parameters": 5}], ["rel_l2"])
