"""Results in Python: rows with the right types, alike by our reader and by pandas."""

import math

import numpy as np
import pandas
import pytest
import yaml

import monarch_sciml
from monarch_sciml.cli import main

NETWORK = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4], "n_layers": 1}}


@pytest.fixture
def table(waves, tmp_path, monkeypatch):
    """A comparison of two networks, one with a name that looks like a number, and two seeds."""
    monkeypatch.setattr(
        "monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {}
    )
    networks = {"FNO": {"network": NETWORK}, "wide": {"network": NETWORK}}
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump({**waves, "networks": networks}))
    words = ["compare", "--config", "compare.yaml", "--output", "table", "--seeds", "[0, 1]"]
    assert main(words) == 0
    return tmp_path / "table"


def test_rows_make_a_table_with_the_types_of_their_values(table):
    rows = monarch_sciml.load_results(table)
    frame = pandas.DataFrame(rows)
    assert list(frame["network"]) == ["FNO", "FNO", "wide", "wide"]
    for name in ("seed", "n_parameters", "epochs"):
        assert frame[name].dtype == np.int64, name
    for name in ("relative_l2", "nrmse", "seconds", "seconds_per_epoch"):
        assert frame[name].dtype == np.float64, name
    assert frame.groupby("network")["relative_l2"].mean().notna().all()
    pandas.testing.assert_frame_equal(pandas.read_csv(table / "results.csv"), frame)
    samples = pandas.DataFrame(monarch_sciml.load_results(table, samples=True))
    assert len(samples) == 2 * 2 * 3
    means = samples.groupby(["network", "seed"])["relative_l2"].mean()
    np.testing.assert_allclose(means, frame.set_index(["network", "seed"])["relative_l2"])


def test_a_missing_value_is_nan_and_a_name_is_text(tmp_path):
    text = "network,seed,relative_l2,epochs\n64,0,0.5,3\nFNO,1,,\n"
    (tmp_path / "results.csv").write_text(text)
    first, second = monarch_sciml.load_results(tmp_path)
    assert first == {"network": "64", "seed": 0, "relative_l2": 0.5, "epochs": 3}
    assert second["network"] == "FNO" and math.isnan(second["relative_l2"])
    frame = pandas.DataFrame([first, second])
    assert frame["relative_l2"].dtype == frame["epochs"].dtype == np.float64


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"the file must exist, got .*results.csv"):
        monarch_sciml.load_results(tmp_path)
