"""Read and write encodings that were learned from calibration scans.

Letters: H x W matrix; b bands; P patches, F blocks of modes, q, r, s as in `CorrectedTransform`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from monarch_sciml._checks import finite, message
from monarch_sciml._files import whole_file
from monarch_sciml._reading import existing_file
from monarch_sciml.physics.readout_encoding import ReadoutEncoding
from monarch_sciml.transforms import CorrectedTransform, FourierTransform, GivenTransform
from monarch_sciml.transforms.base import Transform

KIND = "monarch_sciml readout encoding"
VERSION = 1
LARGEST = 4096
"""Largest side of a matrix and number of bands that a file may state."""


@dataclass(frozen=True)
class EncodingFile:
    """Hold an encoding and its description.

    Attributes
    ----------
    encoding
        The encoding.
    learned
        How it was learned, as `calibrate` states it: slices, ridge, what it leaves unexplained.
    """

    encoding: ReadoutEncoding
    learned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """The matrix, structure and origin of the encoding in a line."""
        height, width = self.encoding.grid_shape
        bands = self.encoding.n_bands
        count = {1: "one matrix for all columns", width: "a matrix for every column"}
        first = next(iter(self.encoding.transforms))
        kind = f"rank {first.rank}" if isinstance(first, CorrectedTransform) else "dense"
        slices = self.learned.get("slices")
        origin = f", learned from {slices} slices" if slices is not None else ""
        return f"{height} x {width}, {count.get(bands, f'{bands} bands')}, {kind}{origin}"


def encoding_path(path: str | Path) -> Path:
    """Return the path of an encoding to write; ValueError when it has another ending."""
    path = Path(path)
    if path.suffix != ".safetensors":
        rule = "the file of an encoding must end in .safetensors"
        raise ValueError(message(rule, path.name, "Change the ending."))
    return path


def write_encoding(
    encoding: ReadoutEncoding,
    path: str | Path,
    *,
    learned: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an encoding to a safetensors file whose header describes it.

    Parameters
    ----------
    encoding
        Bands that are all a `CorrectedTransform` of the centred DFT, or all dense matrices.
    path
        File to write, .safetensors.
    learned
        How it was learned, values that JSON has.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    The path.

    Raises
    ------
    FileExistsError
        When the file exists and `overwrite` is false.
    ValueError
        When `path` has another ending, or the bands are of another kind.
    """
    path = encoding_path(path)
    height, width = encoding.grid_shape
    header = {"height": height, "width": width, "n_bands": encoding.n_bands}
    tensors = {"weights": encoding.weights.detach()}
    bands = list(encoding.transforms)
    corrected = [band for band in bands if isinstance(band, CorrectedTransform)]
    if len(corrected) == len(bands):
        header |= {"structure": "corrected", "rank": corrected[0].rank}
        header |= {"grid_blocks": corrected[0].patches.counts[0]}
        header |= {"mode_blocks": corrected[0].mode_blocks.counts[0]}
        tensors["left"] = torch.stack([band.left.detach() for band in corrected])
        tensors["right"] = torch.stack([band.right.detach() for band in corrected])
    elif all(isinstance(band, GivenTransform) for band in bands):
        header |= {"structure": "dense"}
        matrices = torch.stack([band.matrix().detach() for band in bands])  # type: ignore[operator]
        tensors["matrices"] = torch.view_as_real(matrices.to(torch.complex64))
    else:
        rule = "the bands of an encoding file must all be corrected, or all dense"
        got = sorted({type(band).__name__ for band in bands})
        raise ValueError(message(rule, got, "Use `fit_encoding`."))
    about = {
        "format": KIND,
        "version": str(VERSION),
        "encoding": json.dumps(header),
        "learned": json.dumps(dict(learned or {})),
    }
    with whole_file(path, overwrite=overwrite) as part:
        part.touch()
        mode = part.stat().st_mode  # as the umask has it; safetensors makes files for one user
        save_file({name: x.cpu().contiguous() for name, x in tensors.items()}, part, about)
        part.chmod(mode)
    return path


def read_encoding(path: str | Path) -> EncodingFile:
    """Read an encoding that `write_encoding` or `monarch-sciml calibrate` has written.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is not an encoding file, of a newer version, or damaged.
    """
    path = existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            if about.get("format") != KIND:
                raise _foreign(path, "another safetensors file")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _foreign(path, " ".join(str(error).split())) from error
    if about.get("version") != str(VERSION):
        rule = f"{path} must be an encoding file of version {VERSION}"
        raise ValueError(message(rule, about.get("version"), "Update monarch_sciml."))
    try:
        header, learned = json.loads(about["encoding"]), json.loads(about["learned"])
        return EncodingFile(_built(header, tensors), dict(learned))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        rule = f"{path} must be a whole encoding file"
        got = f"one whose header and numbers do not fit ({' '.join(str(error).split())})"
        raise ValueError(
            message(rule, got, "Learn it anew by `monarch-sciml calibrate`.")
        ) from error


def _built(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ReadoutEncoding:
    """Return the encoding of a header and its tensors; ValueError when they do not fit."""
    height, width, n_bands = (int(header[name]) for name in ("height", "width", "n_bands"))
    if not 1 <= n_bands <= width <= LARGEST or not 1 <= height <= LARGEST:
        raise ValueError(f"{n_bands} bands of {height} x {width}")
    for name, values in tensors.items():
        finite(name, values, remedy="Learn it anew.")
    if tensors["weights"].shape != (n_bands, width):
        raise ValueError(f"weights {tuple(tensors['weights'].shape)}")
    transforms: list[Transform] = []
    if header["structure"] == "dense":
        matrices = torch.view_as_complex(tensors["matrices"])
        if matrices.shape != (n_bands, height, height):
            raise ValueError(f"matrices {tuple(matrices.shape)}")
        transforms += [GivenTransform(matrix) for matrix in matrices]
    else:
        blocks = [int(header[name]) for name in ("rank", "grid_blocks", "mode_blocks")]
        for left, right in zip(tensors["left"], tensors["right"], strict=True):
            band = CorrectedTransform(FourierTransform(height, centered=True), *blocks)
            band.load_state_dict({"left": left, "right": right})
            transforms.append(band.requires_grad_(False))
    return ReadoutEncoding(transforms, tensors["weights"])


def _foreign(path: Path, got: str) -> ValueError:
    rule = f"{path} must be an encoding file, as `monarch-sciml calibrate` writes it"
    return ValueError(message(rule, got, "Check the path."))
