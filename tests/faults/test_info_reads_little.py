"""`info` of a file of a gigabyte reads the headers and one slice of it, whatever the format.

The files are sparse: they take a few kilobytes of the disk.
"""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from forking import fork

from monarch_sciml.commands.info import info

MOST = 2**25
"""Bytes, 32 MiB, that are read, and a quarter of those that may be in memory at a time."""
N = 2**9

pytestmark = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="measures by /proc")


def unwritten(file, name, shape, dtype="f4", **attributes):
    """A data set whose values have their place in the file, and were never written."""
    created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    created.set_layout(h5py.h5d.CONTIGUOUS)
    created.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    created.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space, stored = h5py.h5s.create_simple(shape), h5py.h5t.py_create(np.dtype(dtype))
    made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), stored, space, created))
    made.attrs.update(attributes)
    return made


def pdebench(path):
    with h5py.File(path, "w") as file:
        unwritten(file, "tensor", (16, 64, N, N))
        file["x-coordinate"] = file["y-coordinate"] = np.linspace(0, 1, N)
        file["t-coordinate"] = np.linspace(0, 1, 65)


def well(path):
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="waves", grid_type="cartesian", n_trajectories=16)
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        dims["time"], dims["x"], dims["y"] = np.arange(64.0), np.arange(N), np.arange(N)
        group = file.create_group("t0_fields")
        group.attrs["field_names"] = ["p"]
        varying = {"sample_varying": True, "time_varying": True, "dim_varying": [True, True]}
        unwritten(group, "p", (16, 64, N, N), **varying)


def pair(path):
    with h5py.File(path, "w") as file:
        for name in ("a", "u"):
            unwritten(file, name, (4, N, N, N // 2))


def matlab(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        for name in ("a", "u"):
            unwritten(file, name, (N, N, N), MATLAB_class=np.bytes_("single"))
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def fastmri(path):
    with h5py.File(path, "w") as file:
        unwritten(file, "kspace", (128, 4, N, N // 2), "c8")[64, 0, N // 2] = 1


def skm_tea(path):
    with h5py.File(path, "w") as file:
        unwritten(file, "kspace", (128, N, N // 2, 2, 4), "c8")[64, N // 2] = 1


def calgary(path):
    with h5py.File(path, "w") as file:
        unwritten(file, "kspace", (128, N, N // 2, 16), "f4")[64, N // 2] = 1


def bart(path):
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{N} {N // 2} 1 4 {'1 ' * 9}128\n")
    sparse(path, 8 * N * N // 2 * 4 * 128, [(4 * 64 * N * N // 2 + i) * 8 for i in range(N)])


def npy(path, *, dtype="<c8", shape=(128, 4, N, N // 2)):
    with path.open("wb") as stream:
        header = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        start = stream.tell()
    step = np.dtype(dtype).itemsize
    middle = (np.prod(shape) // 2 + N * np.arange(N // 2)) * step
    sparse(path, start + int(np.prod(shape)) * step, (start + middle).tolist())


def sparse(path, size, ones):
    """Make a file of this size, with the number 1 at some places."""
    with path.open("ab") as stream:
        stream.truncate(size)
    with path.open("r+b") as stream:
        for place in ones:
            stream.seek(place)
            stream.write(np.float32(1).tobytes())


WRITERS = {
    "bench.hdf5": pdebench,
    "well.hdf5": well,
    "pair.h5": pair,
    "v73.mat": matlab,
    "scan.h5": fastmri,
    "skm_tea.h5": skm_tea,
    "calgary.h5": calgary,
    "bart.cfl": bart,
    "kspace.npy": npy,
    "parts.npy": lambda path: npy(path, dtype="<f4", shape=(128, 4, N, N // 2, 2)),
}  # fmt: skip


def measured(path, **options):
    """Describe a file in a process of its own; the bytes it reads, and those it keeps."""
    here, there = os.pipe()
    process = fork()
    if process == 0:
        try:
            Path("/proc/self/clear_refs").write_text("5")
            before = number_of("io", "rchar"), 1024 * number_of("status", "VmRSS")
            said = info(path, **options)
            read = number_of("io", "rchar") - before[0]
            kept = 1024 * number_of("status", "VmHWM") - before[1]
            os.write(there, f"{read} {kept} {said}".encode())
        except BaseException as error:
            os.write(there, f"-1 -1 {type(error).__name__} {error}".encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here) as stream:
        read, kept, said = stream.read().split(" ", 2)
    os.waitpid(process, 0)
    return int(read), int(kept), said


def number_of(name, key):
    lines = Path(f"/proc/self/{name}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


@pytest.mark.parametrize("name", WRITERS)
def test_one_slice_of_a_gigabyte_is_read(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    assert path.stat().st_size >= 2**29
    options = {"axes": "slice,coil,height,width,part"} if name == "parts.npy" else {}
    if name in ("pair.h5", "v73.mat"):
        options = {"axes": "sample,x,y,z" if name == "pair.h5" else "x,y,z"}
    read, kept, said = measured(path, **options)
    print(f"| {name} | {path.stat().st_size / 1e6:.0f} | {read / 1e6:.2f} | {kept / 1e6:.1f} |")
    assert read >= 0, said
    assert read < MOST and kept < 4 * MOST, (read, kept)
