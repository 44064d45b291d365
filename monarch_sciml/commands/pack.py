"""The `pack` command, which writes arrays of the user into a self-describing file of fields."""

from __future__ import annotations

from pathlib import Path

from monarch_sciml.commands.info import info
from monarch_sciml.data import pack
from monarch_sciml.data.fields.pack import PackType


def pack_arrays(
    path: list[Path],
    *,
    output: Path,
    axes: str | dict[str, str] | None = None,
    variable: str | None = None,
    boundary: list[str] | None = None,
    domain_extent: list[float] | None = None,
    dt: float | None = None,
    dtype: PackType = "as stored",
    overwrite: bool = False,
) -> str:
    """Write arrays as a file of fields that states its axes, grid, times and boundary.

    Parameters
    ----------
    path
        Files of arrays: .npy, .npz, .pt, .mat, HDF5, NetCDF or Zarr. The field of a .npy file has
        the name of the file, others have the names of their arrays.
    output
        The file to make, .h5.
    axes
        Names of the axes in the order in which they are stored, out of sample, time, channel, x, y,
        z, or 1 for an axis of one entry: "sample,time,x" for all arrays or, for each by its name,
        '{force: "sample,x", u: "sample,time,x"}'. They are not needed if names or coordinates in
        the files show them.
    variable
        Name of the only array, struct or group to use.
    boundary
        Condition along each axis of the grid: periodic, dirichlet, neumann, wall, open or unknown.
    domain_extent
        Length along each axis of the grid; by default that of the coordinates, or 1.
    dt
        Time between frames, if no array holds the times.
    dtype
        Type of the stored values. "as stored" is float64 if one of the arrays is, otherwise
        float32.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    The description of the file by `info`.

    Raises
    ------
    FileNotFoundError, FileExistsError
        When a file of arrays is missing, or `output` exists.
    ValueError
        When the axes are unknown or do not fit, or a value is NaN or infinite.
    """
    made = pack(
        path,
        output,
        axes=axes,
        variable=variable,
        boundary=boundary,
        domain_extent=domain_extent,
        dt=dt,
        dtype=dtype,
        overwrite=overwrite,
    )
    return info(made)
