"""Small valid files of every format that is read, and how each is read in full.

`FILES` maps the name of a file to a pair: a function that writes it, and one that reads it as
commands do. A file in a folder ("store.zarr/zarr.json") is a part of what is read.
"""

import importlib.util
import json
import warnings
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import scipy.io
import torch
import yaml

from monarch_sciml.commands.info import info
from monarch_sciml.data import open_fields
from monarch_sciml.data.fields.source import FieldLayout
from monarch_sciml.data.fields.writer import FieldWriter
from monarch_sciml.data.scans.formats.bart import write_bart
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.data.scans.map_files import read_coil_maps
from monarch_sciml.data.scans.mask_files import read_mask
from monarch_sciml.data.scans.read import read_scan
from monarch_sciml.data.scans.scan import Scan
from monarch_sciml.models import FNO
from monarch_sciml.training import save_checkpoint

SLICES, COILS, H, W = SHAPE = (2, 2, 16, 16)
U = np.random.default_rng(0).standard_normal((4, 5, 8)).astype("f4")


def kspace(*shape):
    """Complex numbers with a peak in the middle of the last two axes, as k-space has."""
    rng = np.random.default_rng(1)
    values = rng.standard_normal((*shape, 2)) @ np.array([1, 1j])
    rows, columns = (abs(np.arange(n) - n // 2) for n in shape[-2:])
    return (values / (1 + rows[:, None] ** 2 + columns**2)).astype("c8")


# --- fields


def write_own(path):
    layout = FieldLayout(
        fields=("u",), n_samples=3, n_times=2, grid_shape=(8,), domain_extent=(1.0,),
        boundary=("periodic",), times=(0.0, 0.5),
    )  # fmt: skip
    with FieldWriter(path, layout, generator="t", parameters={}, seed=0) as writer:
        writer.write(0, torch.from_numpy(U[:3, :2, None]))


def write_pdebench(path):
    with h5py.File(path, "w") as file:
        file["tensor"], file["x-coordinate"] = U, np.linspace(0, 1, 8)
        file["t-coordinate"] = np.linspace(0, 1, 6)
        file.attrs["note"] = "a text in the heap"
        file["names"] = ["one", "two"]


def write_seeds(path):
    with h5py.File(path, "w") as file:
        for seed in ("0000", "0001"):
            file[f"{seed}/data"] = U[..., None][0]
            file[f"{seed}/grid/x"] = np.linspace(0, 1, 8)
            file[f"{seed}/grid/t"] = np.linspace(0, 1, 5)


def write_incompressible(path):
    with h5py.File(path, "w") as file:
        file["velocity"] = np.ones((2, 3, 4, 4, 2), "f4")
        file["particles"] = np.ones((2, 3, 4, 4, 1), "f4")
        file["force"], file["t"] = np.ones((2, 4, 4, 2), "f4"), np.arange(6.0).reshape(2, 3)


def write_well(path):
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="waves", grid_type="cartesian", n_trajectories=4)
        file.attrs["simulation_parameters"], file.attrs["Re"] = ["Re"], 1e4
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x"]
        dims["time"], dims["x"] = np.arange(5.0), np.linspace(0, 1, 8)
        side = file.create_group("boundary_conditions/x_PERIODIC")
        side.attrs["associated_dims"], side.attrs["bc_type"] = ["x"], "PERIODIC"
        side["mask"] = np.isin(np.arange(8), (0, 7))
        for order, name, values in (("t0_fields", "p", U), ("t1_fields", "v", U[..., None])):
            group = file.create_group(order)
            group.attrs["field_names"] = [name]
            group[name] = values
            group[name].attrs.update(sample_varying=True, time_varying=True, dim_varying=[True])


def write_plain(path):
    with h5py.File(path, "w") as file:
        file["input"], file["output"], file["group/text"] = U[:, 0], U[:, 1], "a text"
        file["input"].dims[0].label = "sample"


def write_mat73(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["a"], file["u"] = U[:, 0].T, U[:, 1].T
        for item in file.values():
            item.attrs["MATLAB_class"] = np.bytes_("single")
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_mat5(path, *, packed):
    held = {"a": U[:, 0], "u": U[:, 1], "s": {"note": "text", "cell": np.array(["a", 1], object)}}
    scipy.io.savemat(path, held, do_compression=packed)


def write_torch(path, *, legacy=False):
    x, y = torch.from_numpy(U[:, 0].copy()), torch.from_numpy(U[:, 1].copy())
    held = {"x": x, "y": y, "n": np.arange(3)}
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)


def dataset():
    import xarray

    x = np.linspace(0, 1, 8)
    return xarray.Dataset({"u": (("sample", "time", "x"), U)}, {"x": ("x", x)}, {"note": "text"})


def write_zarr(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset().to_zarr(folder, consolidated=False)


# --- scans


def write_scan(path):
    maps = torch.ones(SHAPE, dtype=torch.complex64) / 2**0.5
    write_fastmri(path, Scan(torch.from_numpy(kspace(*SHAPE)), coil_maps=maps, name="scan"))


def write_skm_tea(path):
    with h5py.File(path, "w") as file:
        file["kspace"] = np.moveaxis(kspace(3, 2, 2, H, W), (1, 2), (3, 4))
        file["maps"] = np.ones((3, H, W, 2, 1), "c8")
        file["target"] = np.ones((3, H, W, 2, 1), "c8")
        file["masks/poisson_4.0x"] = np.ones((H, W - 2), bool)


def write_calgary(path):
    with h5py.File(path, "w") as file:
        file["kspace"] = np.moveaxis(kspace(3, 2, H, W), 1, 3).copy().view("f4")


HEADER = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>'
    "<encodedSpace><matrixSize><x>32</x><y>16</y><z>1</z></matrixSize><fieldOfView_mm><x>480</x>"
    "<y>240</y><z>5</z></fieldOfView_mm></encodedSpace><reconSpace><matrixSize><x>16</x><y>16</y>"
    "<z>1</z></matrixSize><fieldOfView_mm><x>240</x><y>240</y><z>5</z></fieldOfView_mm>"
    "</reconSpace><encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>15"
    "</maximum><center>8</center></kspace_encoding_step_1></encodingLimits><trajectory>cartesian"
    "</trajectory></encoding></ismrmrdHeader>"
)
COUNTERS = ("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast",
            "phase", "repetition", "set", "segment")  # fmt: skip
HEAD = np.dtype(
    [("version", "<u2"), ("flags", "<u8"), ("measurement_uid", "<u4"), ("scan_counter", "<u4"),
     ("acquisition_time_stamp", "<u4"), ("physiology_time_stamp", "<u4", (3,)),
     ("number_of_samples", "<u2"), ("available_channels", "<u2"), ("active_channels", "<u2"),
     ("channel_mask", "<u8", (16,)), ("discard_pre", "<u2"), ("discard_post", "<u2"),
     ("center_sample", "<u2"), ("encoding_space_ref", "<u2"), ("trajectory_dimensions", "<u2"),
     ("sample_time_us", "<f4"), ("position", "<f4", (3,)), ("read_dir", "<f4", (3,)),
     ("phase_dir", "<f4", (3,)), ("slice_dir", "<f4", (3,)),
     ("patient_table_position", "<f4", (3,)),
     ("idx", [*((name, "<u2") for name in COUNTERS), ("user", "<u2", (8,))]),
     ("user_int", "<i4", (8,)), ("user_float", "<f4", (8,))]
)  # fmt: skip
ROW = np.dtype(
    [("head", HEAD), ("traj", h5py.vlen_dtype(np.dtype("f4"))),
     ("data", h5py.vlen_dtype(np.dtype("f4")))]
)  # fmt: skip


def ismrmrd_rows(n_lines=H):
    """Readouts of one slice as ISMRMRD stores them, without its package."""
    lines = kspace(n_lines, COILS, 32)
    rows = np.zeros(n_lines, ROW)
    for number, row in enumerate(rows):
        row["head"]["number_of_samples"], row["head"]["active_channels"] = 32, COILS
        row["head"]["center_sample"], row["head"]["sample_time_us"] = 16, 5
        row["head"]["idx"]["kspace_encode_step_1"] = number
        row["head"]["read_dir"], row["head"]["phase_dir"] = (1, 0, 0), (0, 1, 0)
        row["head"]["slice_dir"] = (0, 0, 1)
        row["traj"] = np.zeros(0, "f4")
        row["data"] = lines[number].view("f4").ravel()
    return rows


def write_ismrmrd(path, header=HEADER):
    with h5py.File(path, "w") as file:
        file["dataset/data"] = ismrmrd_rows()
        file["dataset/xml"] = np.array([header], h5py.string_dtype())


def write_twix(path):
    """A measurement of the VD format, through twixtools' own writer."""
    import twixtools

    text = b'sSliceArray.asSlice[0].dReadoutFOV\t = \t240.0\ntProtocolName\t = \t"gre"\n'
    buffer = b"MeasYaps\0" + np.uint32(len(text)).tobytes() + text
    length = -(-(8 + len(buffer)) // 32) * 32
    start = np.array([length, 1], "<u4").tobytes() + buffer
    blocks = []
    for number, samples in enumerate(kspace(H, COILS, 32)):
        made = twixtools.mdb.Mdb_local(samples)
        made.mdh.Counter.Lin, made.mdh.CenterLin, made.mdh.CenterCol = number, H // 2, 16
        blocks.append(made)
    measurement = {"hdr_str": np.frombuffer(start.ljust(length, b"\0"), "S1"), "mdb": blocks}
    measurement["raidfile_hdr"] = np.zeros((), twixtools.hdr_def.MrParcRaidFileEntry)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twixtools.write_twix([measurement], str(path))


def write_sequence(path):
    import pypulseq

    sequence = pypulseq.Sequence()
    pulse = pypulseq.make_block_pulse(0.5, duration=1e-3, use="excitation")
    line = pypulseq.make_trapezoid("x", area=100, duration=4e-3)
    adc = pypulseq.make_adc(8, duration=1e-3, delay=1e-3)
    for _ in range(2):
        sequence.add_block(pulse)
        sequence.add_block(line, adc)
    sequence.write(str(path), create_signature=False)


# --- trained networks


def write_run(folder):
    """A run directory without checksums, which whoever changes its files would correct."""
    network = {"class_path": "monarch_sciml.models.FNO", "init_args": {"n_modes": [4]}}
    network["init_args"] |= {"hidden_channels": 2, "n_layers": 1}
    data = {"path": "own.h5", "n_train": 1, "n_validation": 1, "n_test": 1}
    data |= {"n_steps_in": 1, "n_steps_out": 1}
    recipe = {
        "network": network,
        "data": {"class_path": "monarch_sciml.data.TrajectoryModule", "init_args": data},
        "objective": {"class_path": "monarch_sciml.training.RolloutObjective"},
        "budget": {"epochs": 1, "batch_size": 1},
        "seed": 0,
    }
    sizes = {"grid_shape": [8], "in_channels": 1, "out_channels": 1}
    spec = {
        "kind": "FieldSpec", "network_arguments": sizes, "fields": ["u"], "grid_shape": [8],
        "n_steps_in": 1, "n_steps_out": 1, "n_fields_in": 1, "n_fields_out": 1,
        "domain_extent": [1.0], "boundary": ["periodic"], "dt": 0.5,
    }  # fmt: skip
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "spec.json").write_text(json.dumps(spec))
    best = folder / "checkpoints" / "best"
    options = {**sizes, **network["init_args"]}
    save_checkpoint(best, FNO(options.pop("grid_shape"), **options))
    (best / "checksums.json").unlink()


# --- reading


def read_fields(path):
    """Describe a set of fields, and read the first frame as a training does."""
    info(path)
    open_fields(path).read(slice(0, 1), slice(0, 1))


def read_k_space(path, **options):
    """Describe a scan, and read all of it."""
    info(path, **options)
    read_scan(path, **options)


def read_sequence(path):
    from monarch_sciml.data.scans.raw import sequence

    sequence.read_sequence(path)


def read_maps(path):
    read_coil_maps(path, SHAPE)


def read_stored_mask(path):
    read_mask(path, (SLICES, H, W))


def read_run(folder):
    """Load a trained network, as `load_run` and `reconstruct --run` do."""
    from monarch_sciml.commands.comparison.loaded_run import load_run

    load_run(folder, data={"path": str(folder.parent / "own.h5")})


WRITERS = {
    "own.h5": (write_own, read_fields),
    "bench.hdf5": (write_pdebench, read_fields),
    "seeds.hdf5": (write_seeds, read_fields),
    "incompressible.h5": (write_incompressible, read_fields),
    "well.hdf5": (write_well, read_fields),
    "plain.h5": (write_plain, read_fields),
    "v73.mat": (write_mat73, read_fields),
    "v5.mat": (partial(write_mat5, packed=False), read_fields),
    "packed.mat": (partial(write_mat5, packed=True), read_fields),
    "pair.pt": (write_torch, read_fields),
    "legacy.pt": (partial(write_torch, legacy=True), read_fields),
    "pair.npz": (lambda path: np.savez(path, x=U[:, 0], y=U[:, 1]), read_fields),
    "packed.npz": (lambda path: np.savez_compressed(path, x=U[:, 0], y=U[:, 1]), read_fields),
    "classic.nc": (lambda path: dataset().to_netcdf(path, engine="scipy"), read_fields),
    "four.nc": (lambda path: dataset().to_netcdf(path, engine="h5netcdf"), read_fields),
    "store.zarr": (write_zarr, read_fields),
    "scan.h5": (write_scan, read_k_space),
    "skm_tea.h5": (write_skm_tea, read_k_space),
    "calgary.h5": (write_calgary, read_k_space),
    "mrd.h5": (write_ismrmrd, read_k_space),
    "twix.dat": (write_twix, read_k_space),
    "bart.cfl": (lambda path: write_bart(path, torch.from_numpy(kspace(*SHAPE))), read_k_space),
    "kspace.npy": (lambda path: np.save(path, kspace(*SHAPE)), read_k_space),
    "kspace.mat": (lambda path: scipy.io.savemat(path, {"k": kspace(*SHAPE)}), read_k_space),
    "maps.npy": (lambda path: np.save(path, kspace(*SHAPE)), read_maps),
    "mask.npz": (lambda path: np.savez(path, mask=np.ones((H, W), bool)), read_stored_mask),
    "order.seq": (write_sequence, read_sequence),
    "run": (write_run, read_run),
}
"""Name of the file or folder that is read -> how it is written and read."""
NEEDED = {"twix.dat": "twixtools", "order.seq": "pypulseq", "store.zarr": "zarr",
          "four.nc": "h5netcdf", "classic.nc": "xarray"}  # fmt: skip
"""Packages of the extras without which a format is not read."""


def write_all(folder):
    """Write a file of each format whose package is there; a list of (name read, file damaged)."""
    found = []
    for name, (write, _) in WRITERS.items():
        if name in NEEDED and importlib.util.find_spec(NEEDED[name]) is None:
            continue
        write(folder / name)
        parts = [folder / name]
        if (folder / name).is_dir():
            parts = sorted(path for path in (folder / name).rglob("*") if path.is_file())
        elif name == "bart.cfl":
            parts.append(folder / "bart.hdr")
        found += [(name, str(path.relative_to(folder))) for path in parts]
    return found


def read(folder, name):
    """Read the file or folder of a name."""
    WRITERS[name][1](Path(folder) / name)
