"""neuralop's .pt files: a dict of tensors `x` and `y`.

Shapes: N samples, T times, then the grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from monarch_sciml._checks import message
from monarch_sciml._reading import reading
from monarch_sciml.data.fields.source import FieldLayout, FieldSource
from monarch_sciml.data.reading import COMPLEX_PARTS, real_names


class NeuralopPtFile(FieldSource):
    """Read a .pt file of neuralop's data sets.

    With `x` and `y` both (N, *grid) the file holds the steady pair `x`, `y` (Darcy). With `y`
    (N, T, *grid) it holds trajectories of the field `y` (Burgers), whose first frame is `x`.

    Parameters
    ----------
    path
        The file.
    boundary, domain_extent
        One entry for each grid axis. The files do not tell them: by default a boolean `x` (Darcy)
        is Dirichlet, trajectories with `visc` (Burgers) are periodic, all else "unknown", and
        every length is 1.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no such file, truncated, or holds more than plain tensors (it is loaded with
        weights_only=True: nothing in it is run).

    Notes
    -----
    The tensors are mapped into memory, not copied: only the windows asked for are read (a file of
    torch before 1.6 is read whole). Complex tensors are read as two real fields, `y.real` and
    `y.imag`.

    References
    ----------
    Kossaifi et al., neuraloperator, `neuralop.data.datasets.PTDataset`.
    """

    format: ClassVar[str] = "neuralop .pt"

    def __init__(
        self,
        path: str | Path,
        *,
        boundary: tuple[str, ...] | None = None,
        domain_extent: tuple[float, ...] | None = None,
    ) -> None:
        path = Path(path)
        with reading(path):
            content = _load_tensors(path)
        held = content if isinstance(content, dict) else {}
        if not all(isinstance(held.get(name), Tensor) for name in ("x", "y")):
            got = sorted(map(str, held))[:8] if held else type(content).__name__
            rule = f"{path} must hold a dict with the tensors `x` and `y`"
            raise ValueError(message(rule, got, "Save one with torch.save."))
        x, y = content["x"], content["y"]
        self._steady = x.shape == y.shape
        if not self._steady and (y.ndim != x.ndim + 1 or (len(y), *y.shape[2:]) != x.shape):
            rule = f"`y` of {path} must be (N, *grid) as `x`, {tuple(x.shape)}, or (N, T, *grid)"
            raise ValueError(message(rule, tuple(y.shape), "Check the order of its axes."))
        held = {"x": x, "y": y} if self._steady else {"y": y}
        self._names = {f: name for name in held for f in real_names(name, held[name].is_complex())}
        self._tensors: dict[str, Tensor] | None = held
        grid_shape = tuple(x.shape[1:])
        if x.dtype == torch.bool:
            assumed = "dirichlet"
        else:
            assumed = "periodic" if not self._steady and "visc" in content else "unknown"
        layout = FieldLayout(
            fields=tuple(self._names),
            n_samples=len(x),
            n_times=1 if self._steady else y.shape[1],
            grid_shape=grid_shape,
            domain_extent=domain_extent or (1.0,) * len(grid_shape),
            boundary=boundary or (assumed,) * len(grid_shape),
        )
        about: dict[str, Any] = {"arrays": sorted(content)}
        if "visc" in content:
            about["parameters"] = {"viscosity": float(content["visc"])}
        super().__init__(path, layout, about)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tensors": None}  # a spawned worker maps the file itself

    def _load(self, field: str, samples: slice, times: slice) -> Tensor:
        tensors = self._tensors = self._tensors or _load_tensors(self.path)
        values = tensors[self._names[field]]
        if self._steady:
            values = values[:, None]  # (N, *grid) -> (N, 1, *grid)
        window = values[samples, times]
        if window.is_complex():
            part = COMPLEX_PARTS.index(field.rpartition(".")[2])
            window = torch.view_as_real(window.resolve_conj())[..., part]
        return window.contiguous()


def _load_tensors(path: Path) -> Any:
    """Load with nothing run; mapped into memory where the file's kind allows."""
    with path.open("rb") as stream:
        is_zip = stream.read(4) == b"PK\x03\x04"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
