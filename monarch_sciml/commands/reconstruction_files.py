"""The files that `reconstruct` writes for one scan: images, in five formats, and a figure."""

# Legend: s slices, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import whole_file
from monarch_sciml.commands.reconstruction_reference import errors_of
from monarch_sciml.commands.reconstruction_settings import Result
from monarch_sciml.data.fastmri import write_fastmri
from monarch_sciml.data.images import ENDINGS, write_image
from monarch_sciml.data.scan import Scan
from monarch_sciml.evaluation import images_figure, reconstruction_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HDF5 = (".h5", ".hdf5")


def ending_of(path: Path) -> str | None:
    """Return the ending of a file of images, .nii.gz in full; None when it is none."""
    return next((end for end in (*ENDINGS, ".hdf5") if path.name.lower().endswith(end)), None)


@dataclass(frozen=True)
class Destination:
    """The files to write for one scan, each None for none, and whether they may replace others."""

    images: Path | None
    figure: Path | None
    overwrite: bool

    @classmethod
    def checked(
        cls,
        source: Path,
        images: Path | None,
        figure: Path | None,
        names: Sequence[str],
        *,
        overwrite: bool,
    ) -> Destination:
        """Refuse a destination before any work is done; the figure goes beside the images.

        Raises
        ------
        FileExistsError
            When a file exists and `overwrite` is false, or is the scan itself.
        ValueError
            When a file has an ending of another format.
        """
        if images is not None:
            ending = ending_of(images)
            if ending is None:
                rule = f"`output` must end in {', '.join(ENDINGS)}, or be a folder"
                raise ValueError(message(rule, repr(images.name), "Rename it."))
            if figure is None:
                stem = images.name[: -len(ending)] + ("_figure" if ending == ".png" else "")
                figure = images.with_name(f"{stem}.png")
        if figure is not None:
            one_of("figure.suffix", figure.suffix, (".png", ".pdf", ".svg"))
        destination = cls(images, figure, overwrite)
        for path in destination.files(names):
            if not path.exists():
                continue
            if source.exists() and path.samefile(source):
                rule = "the output must not be the scan itself"
                raise FileExistsError(message(rule, str(path), "Pass another name."))
            if not overwrite:
                rule = "the output file must not exist yet"
                remedy = "Pass --overwrite true, or another name."
                raise FileExistsError(message(rule, str(path), remedy))
        return destination

    def files(self, names: Sequence[str]) -> list[Path]:
        """Return every file that is written when the methods have these names."""
        images = [] if self.images is None else list(self._images(names).values())
        return [*images, *([] if self.figure is None else [self.figure])]

    def check(self, scan: Scan) -> None:
        """Refuse a scan that fastMRI's layout cannot hold: a mask for every slice."""
        if self.images is None or ending_of(self.images) not in HDF5 or scan.mask.ndim == 2:
            return
        rule = f"the slices of {scan.name} must share one mask to be written as .h5"
        remedy = "Pick one with --slices [0,1], or write --output_format nii.gz."
        raise ValueError(message(rule, "one mask a slice", remedy))

    def write(self, result: Result) -> list[str]:
        """Write the images and the figure, each whole or not at all; return a line for each."""
        lines, names = [], list(result.found)
        figure = draw(result) if self.figure is not None else None
        if self.images is not None and ending_of(self.images) in HDF5:
            self._write_h5(self.images, result)
            lines.append(f"images: {self.images} (`reconstruction` is that of {names[-1]})")
        elif self.images is not None:
            for name, path in self._images(names).items():
                image = result.found[name].image
                write_image(path, image, scan=result.problem.scan, overwrite=self.overwrite)
                lines.append(f"images: {path} ({name})")
        if figure is not None and self.figure is not None:
            save(figure, self.figure, overwrite=self.overwrite)
            lines.append(f"figure: {self.figure}")
        return lines

    def _images(self, names: Sequence[str]) -> dict[str, Path]:
        """Return the file of each method: one for all of them as .h5, or where there is but one."""
        if self.images is None:
            return {}
        ending = ending_of(self.images) or ""
        if ending in HDF5 or len(names) == 1:
            return dict.fromkeys(names, self.images)
        stem = self.images.name[: -len(ending)]
        words = {name: re.sub(r"[^\w.-]+", "-", name) for name in names}
        return {name: self.images.with_name(f"{stem}_{words[name]}{ending}") for name in names}

    def _write_h5(self, path: Path, result: Result) -> None:
        """Write fastMRI's layout; `reconstructions` holds the images of every method."""
        import h5py

        problem, scan, found = result.problem, result.problem.scan, result.found
        reference = problem.reference
        if reference is None:
            scan = replace(scan, target=None)
        else:
            header = {**scan.header, "reference": "target"}
            scan = replace(scan, target=reference.image, header=header)
        name, last = list(found.items())[-1]
        attributes = {
            "method": name,
            "acceleration": scan.acceleration,
            "sampling": result.sampling,
            "coil_maps": problem.maps.origin,
            "reference": "none" if reference is None else reference.origin,
            "source": scan.name,
        }
        with whole_file(path, overwrite=self.overwrite) as part:
            write_fastmri(
                part, scan, reconstruction=last.magnitude, attributes=attributes, overwrite=True
            )
            with h5py.File(part, "a") as file:
                if problem.coil_maps.dim() == 5:
                    file["maps"] = problem.coil_maps.numpy()  # (s, M, c, H, W)
                group = file.create_group("reconstructions")
                for method, image in found.items():
                    magnitude = image.magnitude
                    stored = group.create_dataset(method.replace("/", "|"), data=magnitude.numpy())
                    stored.attrs["seconds_per_slice"] = image.seconds
                    if reference is not None:
                        stored.attrs.update(errors_of(magnitude, reference.image))


def draw(result: Result) -> Figure:
    """Draw all slices and the middle one with a zoom, with errors where there is a reference."""
    problem, scan = result.problem, result.problem.scan
    reference = problem.reference
    middle = scan.n_slices // 2
    images = {name: found.magnitude.numpy() for name, found in result.found.items()}
    mask = scan.slice_mask(middle).numpy()
    if reference is None:
        return images_figure(images, mask=mask)
    target = reference.image[middle : middle + 1]
    scores = {}
    if bool(target.any()):  # the slice may be empty
        for name, found in result.found.items():
            scores[name] = errors_of(found.magnitude[middle : middle + 1], target)
    whole = problem.shape == scan.matrix  # the mask is drawn in the size of the images
    return reconstruction_figure(
        reference.image.numpy(), images, scores=scores, mask=mask if whole else None
    )
