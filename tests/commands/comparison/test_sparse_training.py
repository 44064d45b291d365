"""Schedules of sparse training through configurations: end to end, sparse-to-dense and back."""

from functools import partial

import pytest
import torch
from tolerances import assert_close
from torch import nn

from monarch_sciml import load_run
from monarch_sciml.commands.comparison.compare import compare_networks
from monarch_sciml.commands.comparison.evaluate import evaluate_run
from monarch_sciml.commands.comparison.start import start_from_run
from monarch_sciml.commands.comparison.trained_run import build_network
from monarch_sciml.data import TextModule
from monarch_sciml.layers import MonarchLinear
from monarch_sciml.models import Normalized, StructuredNetwork, TransformerOperator, densify
from monarch_sciml.training import RolloutObjective, save_checkpoint

DENSE = {
    "class_path": "monarch_sciml.models.GPT2",
    "init_args": {"hidden_channels": 16, "n_layers": 1, "n_heads": 2},
}
MONARCH = {
    "class_path": "monarch_sciml.models.StructuredNetwork",
    "init_args": {"network": DENSE, "structure": "monarch"},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(b"The quick brown fox jumps over the lazy dog. " * 40)
    return path


@pytest.fixture(scope="module")
def comparison(text):
    pytest.importorskip("transformers", reason="needs transformers (the dev extra)")
    import yaml

    from monarch_sciml.cli import main

    output = text.parent / "runs"
    configuration = {
        "data": {
            "class_path": "monarch_sciml.data.TextModule",
            "init_args": {
                "path": str(text), "context": 8, "n_train": 24, "n_validation": 4, "n_test": 8,
            },
        },
        "objective": {"class_path": "monarch_sciml.training.NextTokenObjective"},
        "budget": {"epochs": 2, "batch_size": 8},
        "seeds": [0],
        "output": str(output),
        "options": {"progress": False},
        "networks": {
            "dense": {"network": DENSE},
            "sparse-to-dense": {"network": MONARCH, "optimisation": {"densify_at": 0.5}},
            "dense-to-sparse": {"network": MONARCH, "start_from": f"{output}/dense/seed-{{seed}}"},
        },
    }  # fmt: skip
    (text.parent / "config.yaml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    assert main(["compare", "--config", str(text.parent / "config.yaml")]) == 0
    return output


def test_all_schedules_end_in_one_table(comparison):
    lines = (comparison / "results.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [
        "dense", "sparse-to-dense", "dense-to-sparse",
    ]  # fmt: skip
    column = lines[0].split(",").index("n_parameters")
    counts = [int(line.split(",")[column]) for line in lines[1:]]
    assert counts[1] == counts[0] and counts[2] < counts[0]


@pytest.mark.parametrize(
    ("name", "kind"), [("sparse-to-dense", "Conv1D"), ("dense-to-sparse", "MonarchLinear")]
)
def test_run_directories_restore_the_converted_network(comparison, name, kind):
    run = comparison / name / "seed-0"
    model = load_run(run, checkpoint="last").model
    assert type(model.network.transformer.transformer.h[0].mlp.c_fc).__name__ == kind
    text = evaluate_run(run, progress=False)
    assert "bits_per_token" in text


class Fields:
    """Stands for a data module of fields between walls of which nothing is known."""

    spec = type("Spec", (), {})()
    statistics = None


def test_a_dense_run_is_projected(tmp_path):
    torch.manual_seed(0)
    options = {"patch_size": 4, "hidden_channels": 16, "n_layers": 1, "n_heads": 2}
    dense = TransformerOperator((8, 8), **options)
    save_checkpoint(tmp_path / "dense-3" / "checkpoints" / "best", dense)
    network = partial(TransformerOperator, **options)
    model = StructuredNetwork((8, 8), network=network, include="blocks.*")
    start_from_run(model, tmp_path / "dense-{seed}", seed=3)
    layer, linear = model.network.blocks[0].projection, dense.blocks[0].projection
    expected = MonarchLinear.from_linear(linear)
    torch.testing.assert_close(layer.weight, expected.weight)
    assert torch.equal(model.network.positions, dense.positions)
    again = TransformerOperator((8, 8), **options)
    start_from_run(again, tmp_path / "dense-3", seed=0)
    assert torch.equal(again.head.weight, dense.head.weight)
    with pytest.raises(FileNotFoundError, match="`start_from` must be the directory of a finished"):
        start_from_run(again, tmp_path / "dense-{seed}", seed=4)
    with pytest.raises(ValueError, match=r"got none \(dense\) in .* and 4 structured layers in"):
        start_from_run(nn.Sequential(model), tmp_path / "dense-3", seed=0)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_structured_run_goes_on_also_after_it_was_multiplied_out(tmp_path, normalized):
    torch.manual_seed(0)
    options = {"patch_size": 4, "hidden_channels": 16, "n_layers": 1, "n_heads": 2}
    network = partial(TransformerOperator, **options)

    def build(**structure):
        inner = StructuredNetwork((8, 8), network=network, include="blocks.*", **structure)
        return Normalized(inner, *map(torch.ones, [1] * 4)) if normalized else inner

    trained, x = build(), torch.randn(2, 1, 8, 8)
    save_checkpoint(tmp_path / "monarch" / "checkpoints" / "best", trained)
    save_checkpoint(tmp_path / "dense" / "checkpoints" / "best", densify(trained))
    for run in ("monarch", "dense"):
        model = build()
        start_from_run(model, tmp_path / run, seed=0)
        assert_close(model(x), trained(x))
    with pytest.raises(ValueError, match="blocks missing"):
        start_from_run(build(structure="block_diagonal"), tmp_path / "monarch", seed=0)


def test_an_objective_of_another_kind_is_refused(text, tmp_path):
    pytest.importorskip("transformers", reason="needs transformers (the dev extra)")
    from monarch_sciml.commands.comparison.recipe import Contender
    from monarch_sciml.models import GPT2
    from monarch_sciml.training import Budget

    data = TextModule(text, context=8, n_train=4, n_validation=0, n_test=4)
    small = partial(GPT2, hidden_channels=16, n_layers=1, n_heads=2)
    with pytest.raises(
        ValueError, match=r"must be NextTokenObjective for data of this kind \(Text"
    ):
        compare_networks(
            data,
            {"a": Contender(network=small)},
            RolloutObjective(),
            Budget(epochs=1, batch_size=4),
            tmp_path / "runs",
            seeds=[0],
        )
    assert build_network(small, data, seed=0)(data.train[0]["input"][None]).shape == (1, 8, 256)
