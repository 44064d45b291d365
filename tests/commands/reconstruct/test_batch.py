"""Several scans in one call: folders, failures, results.csv, going on after an interruption."""

import csv
import json
import os
import re

import h5py
import numpy as np
import pytest

from monarch_sciml.cli import main
from monarch_sciml.commands import reconstruct as command
from monarch_sciml.commands.reconstruct.report import PartlyFailed
from monarch_sciml.data.scans.formats.bart import write_bart, write_cfl
from monarch_sciml.data.scans.formats.fastmri import write_fastmri


def reconstruct(path, **options):
    return command.reconstruct(path, command.Settings(**options))


OPTIONS = {
    "method": "zero_filled,cg_sense",
    "acceleration": 2,
    "calibration": 12,
    "progress": False,
}


@pytest.fixture
def folder(tmp_path, make_scan):
    """Three scans in three formats."""
    path = tmp_path / "scans"
    path.mkdir()
    write_fastmri(path / "a.h5", make_scan(noise=0.02))
    write_bart(path / "b.cfl", make_scan(1, noise=0.02).kspace)
    np.save(path / "c.npy", make_scan(2, noise=0.02, n_slices=1, n_coils=3).kspace.numpy())
    return path


def rows_of(output):
    with (output / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stamps(output):
    return {path.name: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}


def table(text, title):
    """The lines of one table: name -> numbers."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title))
    found = {}
    for line in lines[start + 2 :]:
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) < 3:
            break
        found[cells[0]] = [float(cell) for cell in cells[1:]]
    return found


def test_a_folder_gives_the_numbers_of_its_files_and_their_mean(folder, tmp_path):
    output = tmp_path / "out"
    text = reconstruct(folder, output=output, **OPTIONS)
    assert text.startswith("3 of 3 scans reconstructed\n")
    rows = rows_of(output)
    assert [row["file"] for row in rows] == [n for n in ("a.h5", "b.cfl", "c.npy") for _ in "12"]
    for name in ("a", "b", "c"):
        assert (output / f"{name}.h5").exists() and (output / f"{name}.png").exists()
    for metric, title in (("nmse", "NMSE"), ("psnr", "PSNR (dB)"), ("ssim", "SSIM")):
        shown = table(text, title)
        for i, method in enumerate(("zero_filled", "cg_sense")):
            values = [float(row[metric]) for row in rows if row["method"] == method]
            assert shown["mean of 3"][i] == pytest.approx(np.mean(values), rel=2e-3)
            assert shown["b.cfl"][i] == pytest.approx(values[1], rel=2e-3)
            with h5py.File(output / "b.h5") as file:
                assert file["reconstructions"][method].attrs[metric] == values[1]
    alone = reconstruct(folder / "b.cfl", **OPTIONS)
    assert f"{float(rows[3]['psnr']):.2f}" in alone
    assert rows[2]["coils"] == "4" and rows[4]["coils"] == "3" and rows[0]["acceleration"] == "1.5"


def test_other_scans_go_on_and_the_summary_says_what_failed(folder, tmp_path, make_scan):
    whole = (folder / "a.h5").read_bytes()
    (folder / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.h5").touch()
    np.save(folder / "nan.npy", np.full((4, 40, 36), np.nan + 0j))
    bare = make_scan().kspace.numpy()
    bare[..., 1::2] = 0
    np.save(folder / "uncalibrated.npy", bare)
    (folder / "notes.txt").write_text("not a scan")
    (folder / "text.npy").write_text("not a scan either")
    with h5py.File(folder / "fields.h5", "w") as file:
        file["u"] = np.zeros(3)
    missing = tmp_path / "nowhere.h5"
    output = tmp_path / "out"
    with pytest.raises(
        PartlyFailed, match=r"5 of 8 scans failed: cut\.h5, .*nowhere\.h5"
    ) as caught:
        reconstruct([folder, missing], output=output, **OPTIONS)
    text = caught.value.summary
    assert text.startswith("3 of 8 scans reconstructed, 3 other files skipped")
    assert "mean of 3" in text and "\n" not in str(caught.value)
    failed, skipped = text.split("failed:")[1].split("skipped:")
    for line in (
        "cut.h5: .*must be a complete HDF5 file",
        "empty.h5: .*an empty file",
        "nan.npy: .*must be finite",
        "uncalibrated.npy: .* the fully sampled centre .* or pass coil maps",
        "nowhere.h5: the file must exist",
    ):
        assert len(re.findall(f"  {line}", failed)) == 1, line
    assert "notes.txt" in skipped and "text.npy" in skipped and "fields.h5" in skipped
    reasons = {row["file"]: row["failure"] for row in rows_of(output) if row["failure"]}
    assert len(reasons) == 5 and "empty" in reasons["empty.h5"]
    assert sorted(p.stem for p in output.glob("*.h5")) == ["a", "b", "c"]


def test_the_command_line_prints_the_summary_and_fails(folder, tmp_path, capsys):
    (folder / "bad.npy").write_bytes(b"\x93NUMPY")
    words = [
        "reconstruct",
        folder,
        folder / "a.h5",
        "--method",
        "zero_filled",
        "-o",
        tmp_path / "o",
    ]
    words += ["--acceleration", 2, "--calibration", 12, "--output_format", "nii.gz"]
    assert main([*map(str, words), "--progress", "false"]) == 1
    out, err = capsys.readouterr()
    assert "3 of 4 scans reconstructed" in out and "bad.npy: " in out
    assert err == "monarch-sciml: error: 1 of 4 scans failed: bad.npy. See the summary.\n"
    assert len(list((tmp_path / "o").glob("*.nii.gz"))) == 3


def test_resuming_does_what_is_missing_and_no_more(folder, tmp_path):
    output, options = tmp_path / "out", {**OPTIONS, "method": "zero_filled"}
    first = reconstruct(folder, output=output, **options)
    (output / "b.png").unlink()
    (output / "records" / "c.json").write_text("{")  # as nothing of ours would leave it
    before = stamps(output)
    text = reconstruct(folder, output=output, resume=True, **options)
    after = stamps(output)
    assert text.startswith("3 of 3 scans reconstructed, 1 of them before")
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"b.h5", "b.png", "b.json", "c.h5", "c.png", "c.json", "results.csv"}
    for title in ("NMSE", "PSNR (dB)", "SSIM"):
        assert table(text, title) == table(first, title)
    assert len(rows_of(output)) == 3
    again = reconstruct(folder, output=output, resume=True, **options)
    assert "3 of them before" in again


def test_resuming_notices_another_scan_and_other_settings(folder, tmp_path):
    output, options = tmp_path / "out", {**OPTIONS, "method": "zero_filled"}
    reconstruct(folder, output=output, **options)
    os.utime(folder / "a.h5", ns=(1, 1))
    text = reconstruct(folder, output=output, resume=True, **options)
    assert "2 of them before" in text
    before = stamps(output)
    with pytest.raises(FileExistsError, match=r"`acceleration` must be 2 as for .*, got 3"):
        reconstruct(folder, output=output, resume=True, **{**options, "acceleration": 3})
    with pytest.raises(FileExistsError, match=r"must not hold results yet.*--resume true"):
        reconstruct(folder, output=output, **options)
    assert stamps(output) == before
    replaced = reconstruct(folder, output=output, overwrite=True, **{**options, "acceleration": 3})
    assert "before" not in replaced and rows_of(output)[0]["sampling"].startswith("uniform 3")


def test_resuming_one_scan(folder, tmp_path):
    options = {**OPTIONS, "method": "zero_filled", "output": tmp_path / "a.h5", "resume": True}
    assert "method" in reconstruct(folder / "a.h5", **options)
    text = reconstruct(folder / "a.h5", **{**options, "method": "all"})
    assert text.endswith(f"is finished: {tmp_path / 'a.h5'}, {tmp_path / 'a.png'}")
    (tmp_path / "a.png").unlink()
    assert "method" in reconstruct(folder / "a.h5", **options)


def test_scans_of_one_name_do_not_overwrite_each_other(tmp_path, make_scan):
    for sub in ("one", "two"):
        (tmp_path / sub).mkdir()
        write_fastmri(tmp_path / sub / "a.h5", make_scan())
    write_bart(tmp_path / "one" / "a.cfl", make_scan(1).kspace)
    output = tmp_path / "out"
    options = {**OPTIONS, "method": "zero_filled"}
    text = reconstruct([tmp_path / "one", tmp_path / "two"], output=output, **options)
    assert sorted(p.name for p in output.glob("*.h5")) == ["a_cfl.h5", "a_h5.h5", "two_a_h5.h5"]
    assert str(tmp_path / "two" / "a.h5") in text
    record = json.loads((output / "records" / "two_a_h5.json").read_text())
    assert record["path"] == str(tmp_path / "two" / "a.h5")


def test_scans_are_never_overwritten(folder):
    before = stamps(folder)
    with pytest.raises(FileExistsError, match="the output must not be"):
        reconstruct(folder, output=folder, overwrite=True, **OPTIONS)
    assert stamps(folder) == before


def test_options_of_a_format_are_for_its_files(folder, tmp_path):
    options = {**OPTIONS, "method": "zero_filled"}
    swapped = np.load(folder / "c.npy").transpose(0, 2, 3, 1)  # (s, H, W, c)
    np.save(folder / "c.npy", swapped)
    text = reconstruct(folder, axes="slice,height,width,coil", contrast=0, **options)
    assert "3 of 3" in text
    with pytest.raises(ValueError, match="`contrast` is for ISMRMRD, twix, SKM-TEA, "):
        reconstruct(folder / "a.h5", contrast=0, **options)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"output": "o.h5"}, ValueError, r"must be a folder .* got .*o\.h5.*--output_format"),
        ({"figure": "o.png"}, ValueError, "`figure` is for a single scan"),
        ({"output": "file"}, FileExistsError, "must be a folder for several scans"),
    ],
)
def test_bad_options_for_a_folder(folder, tmp_path, options, kind, words):
    (tmp_path / "file").touch()
    placed = {key: tmp_path / value for key, value in options.items()}
    with pytest.raises(kind, match=words):
        reconstruct(folder, **OPTIONS, **placed)


def test_a_folder_without_scans(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"must hold scans .* got 1 other files"):
        reconstruct(tmp_path, **OPTIONS)
    with pytest.raises(ValueError, match="there must be a scan"):
        reconstruct([], **OPTIONS)


@pytest.mark.parametrize("named", ["mask.cfl", "mask.hdr"])
def test_the_mask_in_the_folder_is_no_scan(folder, named):
    write_cfl(folder / "mask", np.arange(36)[None, None] % 2 == 0)
    options = {**OPTIONS, "method": "zero_filled", "acceleration": None, "coil_maps": "walsh"}
    text = reconstruct(folder, mask_file=folder / named, **options)
    assert text.startswith("3 of 3 scans") and "mask.cfl" not in text.split("notes:")[0]


@pytest.mark.parametrize("several", [False, True])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    folder, tmp_path, monkeypatch, several
):
    (tmp_path / "file").touch()  # for root every folder is writable, but a file is none

    def work(*_, **__):
        raise AssertionError("the scan was read")

    monkeypatch.setattr("monarch_sciml.commands.reconstruct.command.reconstruct_scan", work)
    scan, output = (folder, "inside") if several else (folder / "a.h5", "inside/a.h5")
    with pytest.raises(OSError, match=r"files must be writable in .*inside.*, got '.*director"):
        reconstruct(scan, output=tmp_path / "file" / output, **OPTIONS)


def test_the_stem_of_a_pair_and_its_record(tmp_path, make_scan):
    write_bart(tmp_path / "brain", make_scan(noise=0.02).kspace)
    for _ in range(2):  # the second finds it finished
        text = reconstruct(tmp_path / "brain", output=tmp_path / "out", resume=True, **OPTIONS)
        assert "1 of 1 scans reconstructed" in text
    assert "1 of them before" in text


def test_a_format_without_a_folder_is_refused(folder):
    with pytest.raises(ValueError, match=r"`output_format` is for images in a folder.* got png"):
        reconstruct(folder / "a.h5", output_format="png", **OPTIONS)
