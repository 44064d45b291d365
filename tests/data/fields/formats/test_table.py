"""The table of stored fields against arrays that are broadcast whole."""

import tempfile
from pathlib import Path

import h5py
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monarch_sciml.data.fields.formats.table import StoredField, TableFields, components_of
from monarch_sciml.data.fields.source import FieldLayout

N, T, GRID = 3, 4, (2, 5)
KINDS = ["<f4", ">f8", "<c8", "pairs", "bool", ">i2"]

windows = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
arrays = st.tuples(
    st.booleans(), st.booleans(), st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([(), (1,), (2,), (2, 2), (3,)]), st.sampled_from(KINDS),
)  # fmt: skip


def stored(path, name, present, components, kind):
    """Write an array with the axes it has; return it whole (N, T, *GRID, *components)."""
    sizes = [n for n, there in zip((N, T, *GRID), present) if there]
    rng = np.random.default_rng(len(sizes) + len(components))
    values = rng.integers(-9, 9, (*sizes, *components))
    imaginary = rng.integers(-9, 9, values.shape)
    with h5py.File(path, "a") as file:
        if kind == "pairs":  # as MATLAB 7.3 writes complex numbers
            pairs = np.empty(values.shape, [("real", "<f8"), ("imag", "<f8")])
            pairs["real"], pairs["imag"] = values, imaginary
            file[name] = pairs
        else:
            values = values > 0 if kind == "bool" else values
            file[name] = (values + 1j * imaginary if kind == "<c8" else values).astype(kind)
    if kind in ("pairs", "<c8"):
        values = values + 1j * imaginary
    lacking = [axis for axis, there in enumerate(present) if not there]
    return np.broadcast_to(np.expand_dims(values, lacking), (N, T, *GRID, *components))


def names_of(name, components, kind):
    labels = [f"{name}_{i}" for i in range(int(np.prod(components)))] if components else [name]
    parts = (".real", ".imag") if kind in ("<c8", "pairs") else ("",)
    return [label + part for label in labels for part in parts]


@settings(max_examples=60, deadline=None)
@given(
    held=st.lists(arrays, min_size=1, max_size=3), samples=windows, times=windows, data=st.data()
)
def test_any_window_of_any_arrays(held, samples, times, data):
    with tempfile.TemporaryDirectory() as folder:
        path, table, expected = Path(folder) / "x.h5", {}, {}
        for index, (in_samples, in_time, in_space, components, kind) in enumerate(held):
            name = f"array{index}"
            present = (in_samples, in_time, *in_space)
            whole = stored(path, name, present, components, kind)
            flat = whole.reshape(N, T, *GRID, -1)  # (N, T, *GRID, C)
            axes = [a for a, there in zip(("sample", "time", "x", "y"), present) if there]
            place = StoredField(name, (*axes, *["channel"] * len(components)))
            labels = [str(i) for i in range(flat.shape[-1])] if components else [""]
            is_complex = kind in ("<c8", "pairs")
            found = components_of(name, place, labels, components, is_complex=is_complex)
            assert list(found) == names_of(name, components, kind)
            table |= found
            for i, label in enumerate(labels):
                full = f"{name}_{label}" if label else name
                for part, values in (("real", flat[..., i].real), ("imag", flat[..., i].imag)):
                    expected[full], expected[f"{full}.{part}"] = flat[..., i], values
        layout = FieldLayout(tuple(table), N, T, GRID, (1.0, 1.0), ("open", "wall"))
        source = TableFields(path, layout, {}, table)
        wanted = data.draw(st.lists(st.sampled_from(sorted(table)), min_size=1, unique=True))
        samples, times = slice(*samples), slice(*times)
        got = source.read(samples, times, wanted)
        assert got.shape[2:] == (len(wanted), *GRID)
        for index, name in enumerate(wanted):
            right = np.asarray(expected[name], dtype=np.float64)[samples, times]
            assert torch.equal(got[:, :, index].double(), torch.from_numpy(right.copy())), name
