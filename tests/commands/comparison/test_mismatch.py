"""A network on scans that were measured otherwise than those it was trained on."""

import json
from dataclasses import replace

import pytest
import torch
import yaml

from monarch_sciml.cli import main
from monarch_sciml.commands.comparison.saved import saved_spec
from monarch_sciml.commands.comparison.suitability import mismatch
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.spec import FieldSpec, ScanSpec
from monarch_sciml.physics import fft2c
from monarch_sciml.physics.noise import noise_level

SPEC = ScanSpec((40, 36), 4, 2.0, 0.01, "UniformMask")
FIELDS = FieldSpec(("u",), (8,), 1, 1, 1, 1, (1.0,), ("periodic",))
DATA = {
    "class_path": "monarch_sciml.data.ScanModule",
    "init_args": {
        "folder": "scans", "n_train": 1, "n_validation": 1, "n_test": 1,
        "mask": {"class_path": "monarch_sciml.physics.UniformMask",
                 "init_args": {"factor": 2, "calibration": 4}},
    },
}  # fmt: skip
QUIET = ["--progress", "false"]


def test_noise_is_measured():
    y, x = torch.linspace(-1, 1, 64)[:, None], torch.linspace(-1, 1, 64)
    image = torch.exp(-3 * (x**2 + y**2)).expand(1, 4, 64, 64) / 2
    noise = torch.randn(1, 4, 64, 64, dtype=torch.complex64)
    for level in (0.02, 0.1):
        kspace = fft2c(image + level * noise)
        bright = float(torch.linalg.vector_norm(image + level * noise, dim=1).quantile(0.95))
        assert noise_level(kspace) == pytest.approx(level / bright, rel=0.25)
    kspace[..., :20] = kspace[..., -20:] = 0
    assert noise_level(kspace) is None


@pytest.mark.parametrize(
    ("here", "words"),
    [
        ({}, None),
        ({"acceleration": 2.3, "noise": 0.019}, None),
        ({"grid_shape": (80, 80)}, None),
        ({"noise": None, "mask": None}, None),
        ({"acceleration": 3.9}, "acceleration 2, here 3.9"),
        ({"noise": 0.1}, "noise 0.01, here 0.1"),
        ({"mask": "PoissonDiscMask"}, "mask UniformMask, here PoissonDiscMask"),
        ({"n_coils": 8, "acceleration": 1.0}, "acceleration 2, here 1; coils 4, here 8"),
    ],
)
def test_both_values_are_said(here, words):
    expected = words and f"m was trained with {words}: its images may be the worse"
    assert mismatch("m", SPEC, replace(SPEC, **here)) == expected


def test_fields_have_nothing_to_compare():
    assert mismatch("m", FIELDS, replace(FIELDS, grid_shape=(16,))) is None


@pytest.fixture
def run(tmp_path, monkeypatch, make_scan):
    """A network trained on scans at 2x, beside scans with more coils and with noise."""
    monkeypatch.chdir(tmp_path)
    sets = {"scans": {}, "coils": {"n_coils": 6}, "noisy": {"noise": 0.5}}
    for name, options in sets.items():
        for i in range(3 if name == "scans" else 1):
            scan = make_scan(i, **{"noise": 0.02} | options)
            (tmp_path / name).mkdir(exist_ok=True)
            attributes = {"patient_id": f"{name} {i}"}
            write_fastmri(tmp_path / name / f"{name}_{i}.h5", scan, attributes=attributes)
    configuration = {
        "data": DATA,
        "network": {"class_path": "monarch_sciml.models.SENSE",
                    "init_args": {"transform": "monarch"}},
        "objective": {"class_path": "monarch_sciml.training.ReconstructionObjective"},
        "budget": {"epochs": 1, "batch_size": 2},
        "options": {"progress": False},
        "output": "run",
    }  # fmt: skip
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(configuration))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {})
        assert main(["train", "--config", "train.yaml"]) == 0
    return tmp_path / "run"


def test_evaluate_says_what_differs(run, capsys):
    def evaluated(*arguments):
        capsys.readouterr()
        assert main(["evaluate", "run", *QUIET, *arguments]) == 0
        return capsys.readouterr().out

    assert "note" not in evaluated()
    spec = saved_spec(run)
    assert spec.mask == "UniformMask" and 0 < spec.noise < 0.1
    text = evaluated("--data.mask.init_args.factor", "4", "--data.mask.init_args.calibration=4")
    assert (
        f"note: the network was trained with acceleration {spec.acceleration:.2g}, here 3" in text
    )
    other = (
        '{"class_path": "monarch_sciml.physics.RandomMask", "init_args": {"center_fraction": 0.2}}'
    )
    text = evaluated("--data.mask", other)
    assert "mask UniformMask, here RandomMask" in text
    text = evaluated("--data.mask.factor", "3", "--data.mask.calibration", "2")  # both are taken
    assert "acceleration 1.8, here 2.8" in text
    # a folder with the test volume alone
    assert "note: the network was trained with coils 4, here 6: its images" in evaluated(
        "--data.folder", "coils"
    )
    assert f"note: the network was trained with noise {spec.noise:.2g}, here 0." in evaluated(
        "--data.folder", "noisy"
    )
    # a run made before the class of the masks was recorded
    stored = json.loads((run / "spec.json").read_text())
    (run / "spec.json").write_text(json.dumps({k: v for k, v in stored.items() if k != "mask"}))
    assert "mask UniformMask, here RandomMask" in evaluated("--data.mask", other)


def test_compare_says_it_of_an_evaluation_set(run, capsys):
    further = {**DATA, "init_args": {**DATA["init_args"], "folder": "coils", "n_train": 0,
                                     "n_validation": 0}}  # fmt: skip
    values = yaml.safe_load((run.parent / "train.yaml").read_text())
    network = {"network": values.pop("network")}
    values |= {"networks": {"mSENSE": network}, "evaluate_on": {"six": further}, "output": "both"}
    (run.parent / "compare.yaml").write_text(yaml.safe_dump({**values, "seeds": [0]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monarch_sciml.commands.comparison.outputs.draw_figures", lambda *_, **__: {})
        assert main(["compare", "--config", "compare.yaml"]) == 0
    line = "Evaluation set six: every network was trained with coils 4, here 6"
    assert line in capsys.readouterr().out
    assert line in (run.parent / "both" / "table.md").read_text()


def test_training_without_training_volumes_is_one_line(run, capsys):
    assert main(["train", "--config", "train.yaml", "--data.init_args.n_train", "0",
                 "--output", "none"]) == 1  # fmt: skip
    assert "`n_train` must be at least 1 to use the training volumes" in capsys.readouterr().err
