"""A file on which its library crashes is one line of a summary; the other files are done."""

import importlib.util
import os
import signal
import struct
from pathlib import Path

import pytest
import scipy.io
import torch

from monarch_sciml import _inspection
from monarch_sciml.cli import main
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.read import read_scan
from monarch_sciml.data.scans.scan import Scan

spec = importlib.util.spec_from_file_location("valid", Path(__file__).with_name("valid_files.py"))
valid = importlib.util.module_from_spec(spec)
spec.loader.exec_module(valid)

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="reads in a forked process")
TYPE_OF_VALUES = 184
"""Place of the byte that says how a .mat file stores the real parts of a matrix."""


def kspace(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


@pytest.fixture
def folder(tmp_path):
    """Two scans, and between them a .mat file with one byte changed."""
    (tmp_path / "in").mkdir()
    for name in ("a", "c"):
        scan = Scan(kspace(1, 2, 24, 24), coil_maps=torch.ones(1, 2, 24, 24) / 2**0.5 + 0j)
        write_fastmri(tmp_path / "in" / f"{name}.h5", scan)
    scipy.io.savemat(tmp_path / "in" / "b.mat", {"k": kspace(2, 2, 16, 16).numpy()})
    content = bytearray((tmp_path / "in" / "b.mat").read_bytes())
    content[TYPE_OF_VALUES] = 255
    (tmp_path / "in" / "b.mat").write_bytes(content)
    return tmp_path / "in"


def reconstruct(folder, output, capsys):
    """Reconstruct all scans of a folder; the status, what was said, and the scans that are done."""
    status = main(
        ["reconstruct", str(folder), "--method", "zero_filled", "--acceleration", "2",
         "--calibration", "8", "--coil_maps", "stored", "--output", str(output),
         "--progress", "false"]
    )  # fmt: skip
    said = capsys.readouterr()
    return status, said.out + said.err, {p.stem.partition(".")[0] for p in output.glob("*.h5")}


def test_reconstruct_does_the_other_files_of_the_folder(folder, tmp_path, capsys):
    """scipy reads outside of its memory here: it may die of it, or find a type that is none."""
    status, text, done = reconstruct(folder, tmp_path / "out", capsys)
    assert status == 1
    assert "b.mat must be a" in text
    assert "Traceback" not in text
    assert done == {"a", "c"}


def test_reconstruct_outlives_a_library_that_crashes(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(scipy.io, "loadmat", lambda *_, **__: os.kill(os.getpid(), signal.SIGSEGV))
    monkeypatch.setattr(_inspection, "_helpers", [])  # a new process, which is forked from here
    status, text, done = reconstruct(folder, tmp_path / "out", capsys)
    assert status == 1
    assert "b.mat must be a complete file, got one that crashes its library" in text
    assert "Traceback" not in text
    assert done == {"a", "c"}


@pytest.mark.parametrize(
    ("largest", "words"), [(0, "a readout without length"), (2**26, "its library never finishes")]
)
def test_a_twix_file_whose_readouts_lead_nowhere(tmp_path, monkeypatch, largest, words):
    """Small ones are read in the other process, of large ones the readouts are followed."""
    pytest.importorskip("twixtools")
    path = tmp_path / "scan.dat"
    valid.write_twix(path)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<Q", content, 16)
    (length,) = struct.unpack_from("<I", content, start)
    block = start + length
    struct.pack_into("<I", content, block, 0)  # its length
    struct.pack_into("<Q", content, block + 40, 1 << 5)  # it has one of its own
    path.write_bytes(content)
    monkeypatch.setattr("monarch_sciml.data.scans.raw.twix_files.LOOKED_THROUGH", largest)
    with pytest.raises(ValueError, match=words):
        read_scan(path)
