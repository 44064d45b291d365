"""The files that `reconstruct` writes for one scan: images in five formats, and a figure."""

# Letters: s slices, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import whole_file
from monarch_sciml.commands.reconstruct.pipeline import Result, errors_of
from monarch_sciml.data.hdf5 import writable_hdf5
from monarch_sciml.data.images.nifti import nifti_package
from monarch_sciml.data.images.png import MOST_STRETCHED
from monarch_sciml.data.images.write import ENDINGS, write_image
from monarch_sciml.data.scans.formats.bart import is_pair, pair_of
from monarch_sciml.data.scans.formats.fastmri import write_fastmri
from monarch_sciml.evaluation import images_figure, reconstruction_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HDF5 = (".h5", ".hdf5")


def ending_of(path: Path) -> str:
    """Return the ending of a file of images, .nii.gz in full; an empty text when it is none."""
    return next((end for end in (*ENDINGS, ".hdf5") if path.name.lower().endswith(end)), "")


def _words(names: Sequence[str]) -> dict[str, str]:
    """Return a word for the file of each name; names alike but for punctuation are numbered."""
    words: dict[str, str] = {}
    for name in names:
        word = re.sub(r"[^\w.-]+", "-", name)
        taken = {other.lower() for other in words.values()}
        choices = chain([word], (f"{word}-{i}" for i in count(2)))
        words[name] = next(choice for choice in choices if choice.lower() not in taken)
    return words


def files_of(scans: Iterable[Path]) -> set[Path]:
    """Return the files that scans are made of, resolved: of a BART pair both."""
    found: set[Path] = set()
    for path in scans:
        found.update(part.resolve() for part in (pair_of(path) if is_pair(path) else [path]))
    return found


@dataclass(frozen=True)
class Destination:
    """The files to write for one scan, and whether they may replace others.

    Attributes
    ----------
    images
        The file of each method, the same for all as .h5 or where there is but one; may be empty.
    figure
        File of the figure, or None for no figure.
    overwrite
        Whether existing files are replaced.
    record
        File that records that the scan is finished, or None for no record.
    """

    images: Mapping[str, Path] = field(default_factory=dict)
    figure: Path | None = None
    overwrite: bool = False
    record: Path | None = None

    @classmethod
    def checked(
        cls,
        scans: Collection[Path],
        images: Path | None,
        figure: Path | None,
        names: Sequence[str],
        *,
        overwrite: bool,
        record: Path | None = None,
    ) -> Destination:
        """Refuse a destination before any work is done; the figure goes beside the images.

        Raises
        ------
        FileExistsError
            When a file exists and `overwrite` is false, or is among `scans` (see `files_of`).
        ValueError
            When a file has an ending of another format, or one that needs a missing package.
        """
        files = {}
        if images is not None:
            ending = ending_of(images)
            if not ending:
                rule = f"`output` must end in {', '.join(ENDINGS)}, or be a folder"
                raise ValueError(message(rule, repr(images.name), "Rename it."))
            if ending.startswith(".nii"):
                nifti_package()  # said before the work, not after it
            stem = images.name[: -len(ending)]
            files = dict.fromkeys(names, images)
            if ending not in HDF5 and len(names) > 1:
                files = {
                    n: images.with_name(f"{stem}_{w}{ending}") for n, w in _words(names).items()
                }
            stem += "_figure" if ending == ".png" else ""
            figure = figure or images.with_name(f"{stem}.png")
        if figure is not None:
            one_of("figure.suffix", figure.suffix, (".png", ".pdf", ".svg"))
        destination = cls(files, figure, overwrite, record)
        for path in destination.files(names):
            if path.resolve() in scans:
                rule = "the output must not be the scan itself"
                raise FileExistsError(message(rule, str(path), "Pass another name."))
            if path.exists() and not overwrite:
                rule = "the output file must not exist yet"
                remedy = "Pass --overwrite true, or another name."
                raise FileExistsError(message(rule, str(path), remedy))
        return destination

    def files(self, names: Iterable[str]) -> list[Path]:
        """Return every file that is written when the methods of these names are run."""
        images = [self.images[name] for name in names if name in self.images]
        return list(dict.fromkeys([*images, *([] if self.figure is None else [self.figure])]))

    @property
    def hdf5(self) -> Path | None:
        """The file of all images in fastMRI's layout; None for another format."""
        return next((path for path in self.images.values() if ending_of(path) in HDF5), None)

    def write(self, result: Result) -> list[str]:
        """Write the images and the figure, each whole or not at all; return a line for each."""
        lines = []
        figure = draw(result) if self.figure is not None else None
        if self.hdf5 is not None:
            _write_hdf5(self.hdf5, result, overwrite=self.overwrite)
            last = list(result.found)[-1]
            lines.append(f"images: {self.hdf5} (`reconstruction` is that of {last})")
        elif self.images:
            for name, found in result.found.items():
                path = self.images[name]
                write_image(path, found.image, scan=result.scan, overwrite=self.overwrite)
                lines.append(f"images: {path} ({name})")
        if figure is not None and self.figure is not None:
            save(figure, self.figure, overwrite=self.overwrite)
            lines.append(f"figure: {self.figure}")
        return lines


def _write_hdf5(path: Path, result: Result, *, overwrite: bool) -> None:
    """Write fastMRI's layout; `reconstructions` and `complex_images` are those of every method."""
    maps, reference = result.maps, result.reference
    scan = replace(result.scan, target=None)
    if reference is not None:
        header = {**scan.header, "reference": "target"}
        scan = replace(scan, target=reference.image, header=header)
    name, last = list(result.found.items())[-1]
    attributes = {
        "method": name,
        "acceleration": scan.acceleration,
        "sampling": result.sampling,
        "coil_maps": maps.origin,
        "reference": "none" if reference is None else reference.origin,
        "source": scan.name,
    }
    with whole_file(path, overwrite=overwrite) as part:
        write_fastmri(
            part, scan, reconstruction=last.magnitude, attributes=attributes, overwrite=True
        )
        with writable_hdf5(part, append=True) as file:
            if maps.values.dim() == 5:
                file["maps"] = maps.values.numpy()  # (s, M, c, H, W)
            group, complex_group = map(file.create_group, ("reconstructions", "complex_images"))
            for method, found in result.found.items():
                complex_group[method.replace("/", "|")] = found.image.numpy()
                data = found.magnitude.numpy()
                stored = group.create_dataset(method.replace("/", "|"), data=data)
                stored.attrs["seconds_per_slice"] = found.seconds
                stored.attrs.update(result.errors[method])


def draw(result: Result) -> Figure:
    """Draw all slices and the middle one with a zoom, with errors where there is a reference."""
    scan, reference = result.scan, result.reference
    middle = scan.n_slices // 2
    images = {name: found.magnitude.numpy() for name, found in result.found.items()}
    mask = scan.slice_mask(middle).numpy()
    _, row, column = scan.header.get("voxel_size") or (1.0, 1.0, 1.0)
    ratio = row / column if 1 / MOST_STRETCHED <= row / column <= MOST_STRETCHED else 1.0
    if reference is None:
        return images_figure(images, mask=mask, pixel_ratio=ratio)
    target = reference.image[middle : middle + 1]
    scores = {}
    if bool(target.any()):  # the slice may be empty
        for name, found in result.found.items():
            scores[name] = errors_of(found.magnitude[middle : middle + 1], target)
    whole = target.shape[1:] == scan.matrix  # the mask is drawn in the size of the images
    return reconstruction_figure(
        reference.image.numpy(),
        images,
        scores=scores,
        mask=mask if whole else None,
        pixel_ratio=ratio,
    )
