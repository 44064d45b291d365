"""Two processes share out the scans of a folder."""

import re

from torch.distributed.run import get_args_parser

from monarch_sciml.cli import main
from monarch_sciml.commands import reconstruct as command
from monarch_sciml.data.scans.formats.fastmri import write_fastmri


def reconstruct(path, **options):
    return command.reconstruct(path, command.Settings(**options))


OPTIONS = {"method": "zero_filled", "acceleration": 2, "calibration": 12, "progress": False}


def without_times(text):
    return re.sub(r"s per slice.*?\n\n", "", text, flags=re.DOTALL)


def test_two_processes_do_what_one_does(tmp_path, make_scan, launch):
    scans = tmp_path / "scans"
    scans.mkdir()
    for seed in range(3):
        write_fastmri(scans / f"{seed}.h5", make_scan(seed, noise=0.02))
    expected = reconstruct(scans, output=tmp_path / "one", **OPTIONS)
    (scans / "4.h5").touch()
    words = ["reconstruct", scans, "-o", tmp_path / "two", "--method", "zero_filled"]
    words += ["--acceleration", 2, "--calibration", 12, "--progress", "false"]
    (status, out, err), (other, *quiet) = launch(words)
    assert (status, other) == (1, 0), err + str(quiet)
    assert out.startswith("3 of 4 scans reconstructed") and "4.h5: " in out.split("failed:")[1]
    assert "1 of 4 scans failed: 4.h5" in err and quiet[0] == ""
    tables = without_times(expected).split("\n\n")[1:-1]
    assert len(tables) == 4 and all(table in out for table in tables)
    for name in ("results.csv", "0.h5", "1.h5", "2.h5", "records/2.json"):
        assert (tmp_path / "two" / name).is_file()


def test_torchrun_leaves_the_short_name_of_a_run_alone(tmp_path, capsys):
    """It refuses --run, as an abbreviation of its own --run_path."""
    words = ["reconstruct", str(tmp_path / "scans"), "-r", str(tmp_path / "none"), "-o", "out"]
    started = ["--nproc_per_node", "2", "-m", "monarch_sciml", *words]
    assert get_args_parser().parse_args(started).training_script_args == words
    assert main(words) == 1
    assert "a run must be a directory" in capsys.readouterr().err
