import math

import pytest
import torch
from torch import nn

from monarch_sciml.evaluation import count_parameters, read_rows, write_rows


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4, bias=False)
        self.two = nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight
        self.spectrum = nn.Parameter(torch.zeros(3, 5, dtype=torch.complex64))
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)
        self.register_buffer("grid", torch.zeros(11))


def test_count_parameters_counts_real_degrees_of_freedom_once():
    # 4 x 4 shared by two layers, 3 x 5 complex numbers, nothing frozen, no buffer
    assert count_parameters(Tied()) == 16 + 2 * 15


def test_count_parameters_of_neuralop_fno_matches_its_own_count():
    neuralop = pytest.importorskip("neuralop")
    from neuralop.models import FNO

    model = FNO(n_modes=(4, 4), in_channels=1, out_channels=1, hidden_channels=6, n_layers=2)
    # neuralop's counter counts a complex number as two as well
    assert count_parameters(model) == neuralop.utils.count_model_params(model)


def test_rows_round_trip_without_loss(tmp_path):
    rows = [
        {"network": "FNO", "seed": 0, "rel_l2": 0.1 + 0.2, "n_parameters": 1188353},
        {"network": "1e3", "seed": None, "rel_l2": math.nan, "note": 'a, b\n"c" | d'},
    ]
    path = tmp_path / "results.csv"
    write_rows(rows, path)
    back = read_rows(path)
    assert back[0] == {**rows[0], "note": None}
    assert back[1]["network"] == "1e3" and back[1]["seed"] is None
    assert math.isnan(back[1]["rel_l2"]) and back[1]["note"] == rows[1]["note"]
    assert isinstance(back[0]["seed"], int) and isinstance(back[0]["rel_l2"], float)


def test_existing_results_are_not_overwritten(tmp_path):
    path = tmp_path / "results.csv"
    write_rows([{"network": "a"}], path)
    with pytest.raises(FileExistsError, match="must not exist yet"):
        write_rows([{"network": "b"}], path)
    assert read_rows(path) == [{"network": "a"}]
    write_rows([{"network": "b"}], path, overwrite=True)
    assert read_rows(path) == [{"network": "b"}]
    assert [file.name for file in tmp_path.iterdir()] == ["results.csv"]


def test_bad_results_files_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        write_rows([], tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="must exist"):
        read_rows(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="column `network`, got a, b"):
        read_rows(tmp_path / "other.csv")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="CSV table"):
        read_rows(tmp_path / "binary.csv")
