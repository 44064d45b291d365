"""Errors of a comparison name the network, or the data set, that they are about."""

import re

import pytest
import yaml

from monarch_sciml.cli import main
from monarch_sciml.commands.comparison.config_errors import located

GOOD = """
data:
  class_path: monarch_sciml.data.TrajectoryModule
  init_args: {path: u.h5, n_train: 6, n_test: 3}
objective: {class_path: monarch_sciml.training.RolloutObjective}
budget: {epochs: 1, batch_size: 3}
output: out
evaluate_on:
  fine: {class_path: monarch_sciml.data.TrajectoryModule, init_args: {path: v.h5, n_train: 0, n_test: 3}}
networks:
  FNO: {network: {class_path: monarch_sciml.models.FNO, init_args: {n_modes: [4, 4]}}}
  Monarch-NO:
    network: {class_path: monarch_sciml.models.FNO, init_args: {n_modes: [4, 4], transform: monarch}}
    optimisation: {learning_rate: 0.01}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("transform: monarch", "transfrom: monarch"), "`networks.Monarch-NO`: .*'transfrom' is"),
        (("transform: monarch", "transform: wavelet"), "`networks.Monarch-NO`: .*got wavelet"),
        (("learning_rate", "lerning_rate"), "`networks.Monarch-NO`: .*'lerning_rate'"),
        (("optimisation", "optimization"), "`networks.Monarch-NO`: .*'optimization"),
        (("models.FNO, init_args: {n_modes: [4, 4]}", "models.FNOO"), "`networks.FNO`: .*'FNOO'"),
        (("n_train: 0", "n_trian: 0"), "`evaluate_on.fine`: .*'n_trian' is not accepted"),
        (("n_train: 6", "n_trian: 6"), "`data`: .*'n_trian' is not accepted"),
    ],
)
@pytest.mark.parametrize("option", ["--config bad.yaml", "--config=bad.yaml"])
def test_the_entry_is_named(change, words, option, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert change[0] in GOOD
    (tmp_path / "bad.yaml").write_text(GOOD.replace(*change, 1))
    assert main(["compare", *option.split()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and re.search(words, err), err


def test_what_cannot_be_located_stays_as_it_is(tmp_path):
    (tmp_path / "list.yaml").write_text("[1, 2]")
    for text in ("something else", 'Parser key "networks": odd'):
        for words in ([], ["compare", "--config"], ["--config", str(tmp_path / "list.yaml")]):
            assert located(text, words) == text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"transform": "corrected", "transform_rank": 9}, "`transform_rank` must be at most 2"),
        ({"transform": "monarch", "transform_rank": 0}, "`transform_rank` must be at least 1"),
        ({"transform": "monarch", "transform_order": 1}, "`transform_order` must be at least 2"),
        ({"transform": "corrected", "grid_blocks": 99}, "`grid_blocks` must be at most"),
        ({"transform": "corrected", "per_channel": True}, "`per_channel` is an option of"),
        ({"n_modes": [13]}, "`n_modes` must be at most 12"),
        ({"optimisation": {"learning_rate": -1.0}}, "`learning_rate` must be positive"),
        ({"optimisation": {"trained_part": "transform"}}, "needs a network with a learnable"),
        ({"budget": {"epochs": 0, "batch_size": 2}}, "`epochs` must be at least 1"),
    ],
)
def test_options_out_of_range_are_wrong_arguments(options, words, waves, tmp_path, capsys):
    network = {"n_modes": [6], **{k: v for k, v in options.items() if not isinstance(v, dict)}}
    one = {"network": {"class_path": "monarch_sciml.models.FNO", "init_args": network}}
    rest = {k: v for k, v in options.items() if isinstance(v, dict)}
    one |= {k: v for k, v in rest.items() if k == "optimisation"}
    shared = {**waves, **{k: v for k, v in rest.items() if k == "budget"}}
    files = {"train": {**shared, **one}, "compare": {**shared, "networks": {"odd": one}}}
    for command, configuration in files.items():
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(configuration))
        assert main([command, "--config", "c.yaml", "--output", "out"]) == 2, command
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and words in err, err
        assert not (tmp_path / "out" / "results.csv").exists()


def test_options_of_a_problem_out_of_range_are_wrong_arguments(tmp_path, capsys):
    for words in (["--grid", "7"], ["--n_samples", "0"], ["--medium.contrast", "-1"]):
        made = ["generate", "wave_in_medium", "--output", str(tmp_path / "u.h5"), *words]
        assert main(made) == 2
        assert "must be" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
