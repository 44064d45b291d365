"""Errors of a comparison name the network, or the data set, that they are about."""

import re

import pytest

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
