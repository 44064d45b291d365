"""The command line as a whole, in process: what it prints, writes, returns and refuses."""

import csv
import os
import re
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import torch
import yaml

from monarch_sciml import cli
from monarch_sciml.cli import main
from monarch_sciml.data.scans.formats.fastmri import read_fastmri

FIELDS = """
data:
  class_path: monarch_sciml.data.TrajectoryModule
  init_args: {path: ns.h5, n_train: 6, n_validation: 2, n_test: 3, n_steps_in: 2, n_steps_out: 2}
objective: {class_path: monarch_sciml.training.RolloutObjective}
budget: {epochs: 1, batch_size: 3}
options: {progress: false}
"""
NETWORK = "class_path: monarch_sciml.models.FNO"
SIZES = "n_modes: [4, 4], hidden_channels: 4, n_layers: 1"
COMPARE = (
    FIELDS
    + f"""
title: Tiny
seeds: [0, 1]
output: out
networks:
  FNO: {{network: {{{NETWORK}, init_args: {{{SIZES}, transform: fourier}}}}}}
  Monarch-NO: {{network: {{{NETWORK}, init_args: {{{SIZES}, transform: monarch}}}}}}
"""
)
TRAIN = (
    FIELDS
    + f"""
output: run
seed: 1
network: {{{NETWORK}, init_args: {{{SIZES}, transform: monarch}}}}
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with generated fields, and the comparison of two networks on them."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "compare.yaml").write_text(COMPARE)
    (folder / "train.yaml").write_text(TRAIN)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.chdir(folder)
        sizes = ["--n_samples", "11", "--grid", "12", "--t_end", "4", "--progress", "false"]
        assert main(["generate", "navier_stokes", "-o", "ns.h5", *sizes]) == 0
        assert main(["compare", "--config", "compare.yaml"]) == 0
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def call(capsys):
    """Run a command; return its status, stdout and stderr."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def refused(call):
    """Run a command that must fail with one line on stderr; return status and line."""

    def run(*arguments):
        status, out, err = call(*arguments)
        assert out == "" and err.count("\n") == 1 and err.startswith("monarch-sciml: error: "), err
        assert "Traceback" not in err and "<class" not in err and "typing." not in err
        return status, err

    return run


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_generate_and_info(here, call):
    status, out, err = call("info", "ns.h5")
    assert (status, err) == (0, "")
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())
    assert (facts["samples"], facts["frames"], facts["grid"]) == ("11", "4", "12 x 12")
    assert (facts["generator"], facts["seed"]) == ("navier_stokes", "0")


def test_compare_writes_tables_figures_runs_and_one_report(here):
    rows = rows_of(here / "out/results.csv")
    assert [(row["network"], row["seed"]) for row in rows] == [
        (name, seed) for name in ("FNO", "Monarch-NO") for seed in "01"
    ]
    assert all(0 < float(row["relative_l2"]) < 2 and int(row["epochs"]) == 1 for row in rows)
    assert "| FNO" in (here / "out/table.md").read_text()
    report = (here / "out/report.html").read_text()
    assert "Tiny" in report and "data:image" in report and "Monarch-NO" in report
    figures = {path.name for path in (here / "out/figures").iterdir()}
    assert {"rollout.png", "error-over-time.png", "transform-monarch-no.png"} <= figures
    for name in ("FNO", "Monarch-NO"):
        for seed in (0, 1):
            run = here / "out" / name / f"seed-{seed}"
            files = {path.name for path in run.iterdir()}
            assert {"config.yaml", "environment.json", "metrics.csv", "spec.json"} <= files
            assert not {"figures", "report.html"} & files  # one report for all of them
            for checkpoint in ("best", "last"):
                assert (run / "checkpoints" / checkpoint / "model.safetensors").is_file()
            assert yaml.safe_load((run / "config.yaml").read_text())["seed"] == seed
    assert not [path for path in here.rglob("*part*") if path.name.startswith(".")]


def test_evaluate_gives_the_numbers_of_the_comparison(here, call):
    for row in rows_of(here / "out/results.csv"):
        run = f"out/{row['network']}/seed-{row['seed']}"
        status, out, _ = call("evaluate", run, "--progress", "false")
        found = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:]}
        assert status == 0
        for metric in ("relative_l2", "nrmse"):
            assert found[metric] == f"{float(row[metric]):.4g}"


def test_evaluate_on_another_split(here, call):
    outs = {split: call("evaluate", "out/FNO/seed-0", "--split", split, "--progress", "false")[1]
            for split in ("train", "validation")}  # fmt: skip
    counts = {split: out.splitlines()[2].split()[-1] for split, out in outs.items()}
    assert counts == {"train": "6", "validation": "2"}


def test_a_comparison_is_resumed_without_training_again(here, call, refused):
    before = (here / "out/results.csv").read_text()
    status, err = refused("compare", "--config", "compare.yaml")
    assert status == 1 and "--options.resume true" in err
    weights = here / "out/FNO/seed-0/checkpoints/best/model.safetensors"
    written = weights.stat().st_mtime_ns
    status, out, _ = call("compare", "--config", "compare.yaml", "--options.resume", "true")
    assert status == 0 and "report: out/report.html" in out and "Monarch-NO" in out
    assert (here / "out/results.csv").read_text() == before
    assert weights.stat().st_mtime_ns == written


def test_train_equals_the_run_of_the_comparison(here, call):
    status, out, _ = call("train", "--config", "train.yaml")
    assert status == 0 and out.endswith("run: run\nreport: run/report.html\n")
    row = rows_of(here / "out/results.csv")[3]
    assert (row["network"], row["seed"]) == ("Monarch-NO", "1")
    found = {line.split()[0]: line.split()[1] for line in out.splitlines()[2:4]}
    assert found["relative_l2"] == f"{float(row['relative_l2']):.4g}"
    status, again, _ = call("evaluate", "run", "--progress", "false")
    assert status == 0 and out.startswith(again.rstrip())
    report = (here / "run/report.html").read_text()
    assert "run, seed 1" in report and "data:image" in report
    figures = {path.name for path in (here / "run/figures").iterdir()}
    assert {"rollout.png", "error-over-time.png", "training.png", "transform-run.png"} <= figures


def test_options_override_the_configuration(here, call):
    changes = ["--budget.epochs", "2", "--network.init_args.transform", "fourier"]
    status, out, _ = call("train", "--config", "train.yaml", "-o", "other", *changes)
    assert status == 0 and out.endswith("report: other/report.html\n")
    kept = yaml.safe_load((here / "other/config.yaml").read_text())
    assert kept["budget"]["epochs"] == 2 and kept["network"]["init_args"]["transform"] == "fourier"


# Scans


SCANS = """
data:
  class_path: monarch_sciml.data.ScanModule
  init_args:
    folder: scans
    mask: {class_path: monarch_sciml.physics.UniformMask, init_args: {factor: 2, calibration: 12}}
    n_train: 1
    n_validation: 1
    n_test: 1
objective: {class_path: monarch_sciml.training.ReconstructionObjective}
budget: {epochs: 1, batch_size: 2}
options: {progress: false}
seeds: [0]
output: mri
networks:
  CG-SENSE: {network: {class_path: monarch_sciml.solvers.CGSENSE}}
  mSENSE: {network: {class_path: monarch_sciml.models.SENSE, init_args: {transform: monarch}}}
"""


def test_scans_from_generation_to_reconstruction(tmp_path, monkeypatch, call):
    pytest.importorskip("nilearn")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mri.yaml").write_text(SCANS)
    sizes = ["--n_scans", 3, "--n_slices", 2, "--n_coils", 4, "--grid_shape", "[32,28]"]
    assert call("generate", "scans", "-o", "scans", *sizes, "--progress", "false")[0] == 0
    assert call("compare", "--config", "mri.yaml")[0] == 0
    row = rows_of(tmp_path / "mri/results.csv")[1]
    assert row["network"] == "mSENSE"
    status, out, _ = call("evaluate", "mri/mSENSE/seed-0", "--progress", "false")
    assert status == 0 and f"{float(row['nmse']):.4g}" in out
    (tmp_path / "mri.yaml").unlink()
    scans = sorted((tmp_path / "scans").glob("*.h5"))
    words = ["--mask", "uniform", "--acceleration", "2", "--calibration", "12"]
    words += ["--coil_maps", "stored", "--run", "mri", "--method", "zero_filled,cg_sense"]
    for path in scans:  # one of them was the test scan of the comparison
        status, out, err = call("reconstruct", path, *words, "--progress", "false")
        assert (status, err) == (0, "")
        if f"{float(row['nmse']):.4g}" in out:
            break
    else:
        pytest.fail("no scan has the error that the comparison found")
    for path in scans:
        path.rename(tmp_path / path.name)  # a run can be used where its data are not
    long = ["--mask", "UniformMask", "--mask.factor", "2", "--mask.calibration", "12"]
    long += ["--run", "mri/mSENSE/seed-0", "--calibration", "12", "--progress", "false"]
    status, out, err = call("reconstruct", "scan_0000.h5", *long, "-o", "o.h5")
    assert (status, err) == (0, "")
    assert "UniformMask(factor=2, calibration=12" in out and "mSENSE" in out
    assert (tmp_path / "o.png").is_file() and read_fastmri(tmp_path / "o.h5").n_slices == 2
    status, out, _ = call("info", "o.h5")
    assert status == 0 and "1.40 (achieved)" in out


# Refusals


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "train,compare,evaluate,reconstruct,info"),
        (["reconstrukt"], 2, "invalid choice: 'reconstrukt'"),
        (["train"], 2, "arguments are required"),
        (["generate"], 2, "navier_stokes,burgers_periodic"),
        (["generate", "navier_stokes", "-o", "ns.h5"], 1, "must not exist yet, got ns.h5"),
        (["generate", "navier_stokes", "-o", "x.h5", "--grid", "2"], 2, "`grid` must be at least"),
        (["generate", "navier_stokes", "-o", "x.h5", "--grid", "a"], 2, "`grid`: expected int"),
        (["generate", "navier_stokes", "-o", "x.h5", "--sed", "1"], 2, "--sed"),
        (["info"], 2, "info.path"),
        (["info", "none.h5"], 1, "the file must exist, got none.h5"),
        (["info", "out"], 1, "the folder out must hold files of fields"),
        (["evaluate", "none"], 1, "a run must be a directory, got none"),
        (["evaluate", "out"], 1, "got out, a comparison. Name one of its runs, as 'out/FNO/seed-"),
        (["evaluate", "out/FNO/seed-0", "--split", "tset"], 2, "expected one of 'train'"),
        (["compare", "--config", "none.yaml"], 2, "does not exist: '.*none.yaml'"),
        (["compare", "--config", "ns.h5"], 2, "`config` must be a YAML file"),
        (["compare", "--config", "."], 2, "config"),
        (["train", "--config", "train.yaml", "-o", "out/FNO/seed-0"], 1, "out/FNO/seed-0"),
        (["reconstruct", "none.cfl"], 1, "the file must exist, got none.cfl"),
        (["reconstruct", "ns.h5"], 1, "must hold the data set `kspace`"),
        (["reconstruct", "k.npy", "--mask", "unifrom"], 2, "`mask`: expected one of 'uniform'"),
        (["reconstruct", "k.npy", "--mask", "FullMask", "--mask.f", "3"], 2, "'f' is not accepted"),
        (["reconstruct", "k.npy", "--metod", "all"], 2, "unrecognized arguments: --metod all"),
        (["reconstruct", "k.npy", "--method", "al"], 2, "`method` must be all"),
        (["reconstruct", "k.npy", "--run", "out/FNO/seed-0"], 1, "an MRI network, .* FieldSpec"),
    ],
)  # fmt: skip
def test_refusals(here, refused, arguments, status, words):
    if arguments[:1] == ["train"] and "--config" in arguments:
        (here / "run").mkdir(exist_ok=True)
        (here / "run" / "metrics.csv").touch()
    if "k.npy" in arguments:
        np.save(here / "k.npy", np.ones((4, 16, 16), np.complex64))
    before = sorted(here.rglob("*"))
    found, err = refused(*arguments)
    assert found == status and re.search(words, err), err
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (("objective:", "objektive:"), 2, "objektive"),
        (("n_train", "n_trian"), 2, "'n_trian' is not accepted"),
        (("epochs", "epoch"), 2, "epoch"),
        (("transform: monarch", "transfrom: monarch"), 2, "'transfrom' is not accepted"),
        (("transform: monarch", "transform: wavelet"), 2, "wavelet"),
        (("models.FNO", "models.FNOO"), 2, "FNOO"),
        (("monarch_sciml.models.FNO", "torch.nn.Linear"), 2, "'n_modes' is not accepted"),
        (("n_modes: [4, 4]", "n_modes: [4, 40]"), 2, "network FNO: .*`n_modes` must be at most"),
        (("path: ns.h5", "path: none.h5"), 1, "the data file must exist, got none.h5"),
        (("n_train: 6", "n_train: 60"), 1, "60"),
        (("RolloutObjective", "ReconstructionObjective"), 1, "`objective` must be Rollout"),
        (("title: Tiny", "baseline: GNO"), 1, "`baseline` must be one of FNO, Monarch-NO"),
        (("epochs: 1", "epochs: 0"), 2, "`epochs` must be at least 1"),
        (("epochs: 1", "epochs: one"), 2, "epochs`: expected int, got one"),
        (("seeds: [0, 1]", "seeds: 0"), 2, "`seeds`: expected list, got 0"),
    ],
)
def test_configurations_that_are_refused(here, refused, change, status, words):
    assert change[0] in COMPARE
    (here / "bad.yaml").write_text(COMPARE.replace(*change, 1 if "models" in change[0] else -1))
    found, err = refused("compare", "--config", "bad.yaml", "--output", "never")
    assert found == status and re.search(words, err), err
    assert not (here / "never").exists()


def kspace(*shape):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.manual_seed(0)).numpy()


def test_bad_scans(tmp_path, monkeypatch, refused):
    monkeypatch.chdir(tmp_path)
    good = kspace(1, 4, 16, 16)
    with_nan, calibrated = good.copy(), good.copy()
    with_nan[0, 0, 3, 3] = np.nan
    calibrated[..., 4:12] = 0  # the centre was never sampled
    np.save("nan.npy", with_nan)
    np.save("zero.npy", 0 * good)
    np.save("centre.npy", calibrated)
    np.save("real.npy", good.real)
    np.save("good.npy", good)
    np.save("mask.npy", np.ones((16, 12)))
    for name, content in {
        "foreign": {"x": good},
        "mask": {"kspace": good, "mask": np.ones(12)},
    }.items():
        with h5py.File(f"{name}.h5", "w") as file:
            for key, value in content.items():
                file[key] = value
    whole = (tmp_path / "mask.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "cut.hdr").write_text("# Dimensions\n16 16 1 4\n")
    (tmp_path / "cut.cfl").write_bytes(good.tobytes()[:-8])
    expected = {
        "nan.npy": "must be finite, got 1 NaN",
        "zero.npy": "must hold a signal, got zeros only",
        "centre.npy": "at least 6 x 6 samples, got 0 x 0",
        "real.npy": "must hold complex k-space",
        "foreign.h5": "must hold the data set `kspace`",
        "mask.h5": r"`mask` of mask.h5 must have shape \(W,\) or \(H, W\)",
        "cut.h5": "must be a complete HDF5 file",
        "cut.cfl": "must have the 8192 bytes",
        ".": "must be a folder for several scans",
    }  # fmt: skip
    before = sorted(tmp_path.iterdir())
    for name, words in expected.items():
        status, err = refused("reconstruct", name, "-o", "o.h5", "--progress", "false")
        assert status == 1 and re.search(words, err), err
    status, err = refused("reconstruct", "good.npy", "--mask_file", "mask.npy", "-o", "o.h5")
    assert status == 1 and "must fit k-space: (H, W) = (16, 16) or (W,)" in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "darcy", "-o", "d.h5"], "Repeat the command: it goes on where it stopped."),
        (["evaluate", "run"], "--options.resume true"),
    ],
)
def test_an_interrupt_says_how_to_go_on(arguments, words, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("monarch_sciml.cli.run", interrupted)
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "interrupted" in err and words in err


class Broken(torch.utils.data.Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise ValueError("`u` of a.h5 must be finite, got NaN: none. Leave it out.")


def test_errors_of_loading_processes_are_one_line_too(monkeypatch, capsys):
    def load(*_):
        return next(iter(torch.utils.data.DataLoader(Broken(), num_workers=1)))

    monkeypatch.setattr("monarch_sciml.cli.run", load)
    assert main(["evaluate", "run"]) == 1
    line = "monarch-sciml: error: `u` of a.h5 must be finite, got NaN: none. Leave it out.\n"
    assert capsys.readouterr().err == line


def test_help_and_version_end_well(capsys):
    for arguments in (["--version"], ["--help"], ["reconstruct", "--help"], ["train", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "monarch-sciml" in out and "--acceleration" in out and "--budget.epochs" in out


def test_a_reader_that_stops_reading(here):
    reading, writing = os.pipe()
    os.close(reading)  # as `| head` that has seen enough
    with os.fdopen(writing, "wb") as closed:
        command = [sys.executable, "-m", "monarch_sciml", "info", "ns.h5"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, cwd=here, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_configurations_of_the_package_are_found_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "package" / "cli.py"))
    installed = tmp_path / "package" / "configs" / "mri" / "a.yaml"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    found = cli._installed_config
    assert found("configs/mri/a.yaml") == str(installed)
    assert found("--config=configs/mri/a.yaml") == f"--config={installed}"
    for other in ("configs/mri/b.yaml", "train", "--config", "--rate=3"):
        assert found(other) == other
    own = tmp_path / "configs" / "mri" / "a.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert found("configs/mri/a.yaml") == "configs/mri/a.yaml"
