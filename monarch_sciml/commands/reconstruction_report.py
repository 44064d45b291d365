"""What `reconstruct` says and writes: a table, a .h5 file in fastMRI layout, a figure."""

# Legend: s slices, H, W matrix of k-space, h, w matrix of the images.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from monarch_sciml._checks import message, one_of
from monarch_sciml._files import whole_file
from monarch_sciml.commands.reconstruction import Problem, Reconstruction, errors_of
from monarch_sciml.data.fastmri import write_fastmri
from monarch_sciml.data.scan import Scan
from monarch_sciml.evaluation import images_figure, reconstruction_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Found = Mapping[str, Reconstruction]


@dataclass(frozen=True)
class Destination:
    """The files to write, each None for none, and whether they may replace others."""

    images: Path | None
    figure: Path | None
    overwrite: bool

    @classmethod
    def checked(
        cls, source: Path, images: Path | None, figure: Path | None, *, overwrite: bool
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
            one_of("output.suffix", images.suffix, (".h5", ".hdf5"))
            figure = images.with_suffix(".png") if figure is None else figure
        if figure is not None:
            one_of("figure.suffix", figure.suffix, (".png", ".pdf", ".svg"))
        for path in (images, figure):
            if path is None or not path.exists():
                continue
            if source.exists() and path.samefile(source):
                rule = "the output must not be the scan itself"
                raise FileExistsError(message(rule, str(path), "Pass another name."))
            if not overwrite:
                rule = "the output file must not exist yet"
                remedy = "Pass --overwrite true, or another name."
                raise FileExistsError(message(rule, str(path), remedy))
        return cls(images, figure, overwrite)

    def check(self, scan: Scan) -> None:
        """Refuse a scan that fastMRI's layout cannot hold: a mask for every slice."""
        if self.images is not None and scan.mask.ndim == 3:
            rule = f"the slices of {scan.name} must share one mask to be written"
            raise ValueError(message(rule, "one mask a slice", "Pick one with --slices [0,1]."))


def report(problem: Problem, sampling: str, found: Found, notes: list[str]) -> str:
    """Return what was reconstructed, and a table of times and, with a reference, of errors."""
    scan, reference = problem.scan, problem.reference
    slices = "1 slice" if scan.n_slices == 1 else f"{scan.n_slices} slices"
    coils = "1 coil" if scan.n_coils == 1 else f"{scan.n_coils} coils"
    matrix = "{} x {}".format(*scan.matrix)
    region = "{} x {}".format(*scan.calibration)
    facts = {
        "scan": f"{scan.name} ({scan.header['format']}), {slices}, {coils}, {matrix}",
        "sampling": sampling,
        "acceleration": f"{scan.acceleration:.2f} achieved, fully sampled centre {region}",
        "coil maps": problem.maps_origin,
        "reference": "none: no errors can be given" if reference is None else reference.origin,
    }
    lines = [f"{name + ':':<14}{value}" for name, value in facts.items()]
    return "\n".join([*lines, "", _table(found, problem), *([""] if notes else []), *notes])


def _table(found: Found, problem: Problem) -> str:
    rows = []
    for name, result in found.items():
        row: dict[str, Any] = {"method": name}
        if problem.reference is not None:
            errors = errors_of(result.image, problem.reference.image)
            row |= {
                "NMSE": f"{errors['nmse']:.4g}",
                "PSNR (dB)": f"{errors['psnr']:.2f}",
                "SSIM": f"{errors['ssim']:.4f}",
            }
        rows.append({**row, "s per slice": f"{result.seconds:.2g}"})
    aligned = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, headers="keys", colalign=aligned, disable_numparse=True)


def write_images(
    destination: Destination, problem: Problem, sampling: str, found: Found
) -> list[str]:
    """Write the images and the figure; return a line for each."""
    lines = []
    figure = draw(problem, found) if destination.figure is not None else None
    if destination.images is not None:
        _write_h5(destination, destination.images, problem, sampling, found)
        last = list(found)[-1]
        lines.append(f"images: {destination.images} (`reconstruction` is that of {last})")
    if figure is not None and destination.figure is not None:
        save(figure, destination.figure, overwrite=destination.overwrite)
        lines.append(f"figure: {destination.figure}")
    return ["\n".join(lines)] if lines else []


def _write_h5(
    destination: Destination, path: Path, problem: Problem, sampling: str, found: Found
) -> None:
    """Write fastMRI's layout; `reconstructions` holds the images of every method."""
    import h5py

    scan, reference = problem.scan, problem.reference
    if reference is None:
        scan = replace(scan, target=None)
    else:
        header = {**scan.header, "reference": "target"}
        scan = replace(scan, target=reference.image, header=header)
    name, last = list(found.items())[-1]
    attributes = {
        "method": name,
        "acceleration": scan.acceleration,
        "sampling": sampling,
        "coil_maps": problem.maps_origin,
        "reference": "none" if reference is None else reference.origin,
        "source": scan.name,
    }
    with whole_file(path, overwrite=destination.overwrite) as part:
        write_fastmri(part, scan, reconstruction=last.image, attributes=attributes, overwrite=True)
        with h5py.File(part, "a") as file:
            group = file.create_group("reconstructions")
            for method, result in found.items():
                stored = group.create_dataset(method.replace("/", "|"), data=result.image.numpy())
                stored.attrs["seconds_per_slice"] = result.seconds
                if reference is not None:
                    stored.attrs.update(errors_of(result.image, reference.image))


def draw(problem: Problem, found: Found) -> Figure:
    """Draw the middle slice: all methods with errors, or images alone without a reference."""
    scan, reference = problem.scan, problem.reference
    middle = scan.n_slices // 2
    images = {name: result.image[middle].numpy() for name, result in found.items()}
    mask = scan.slice_mask(middle).numpy()
    if reference is None:
        return images_figure(images, mask=mask)
    target = reference.image[middle : middle + 1]
    scores = {}
    if bool(target.any()):  # the slice may be empty
        for name, result in found.items():
            scores[name] = errors_of(result.image[middle : middle + 1], target)
    whole = problem.shape == scan.matrix  # the mask is drawn in the size of the images
    return reconstruction_figure(
        target[0].numpy(), images, scores=scores, mask=mask if whole else None
    )
