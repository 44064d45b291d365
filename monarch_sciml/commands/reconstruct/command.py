"""The `reconstruct` command: undersample scans, reconstruct them, say how well."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monarch_sciml._checks import message
from monarch_sciml.commands.reconstruct.batch import reconstruct_all, reconstruct_one
from monarch_sciml.commands.reconstruct.plan import make_plan
from monarch_sciml.commands.reconstruct.processes import joined
from monarch_sciml.commands.reconstruct.settings import Settings, listed


def reconstruct(
    path: Path | list[Path],
    settings: Settings = Settings(),  # noqa: B008 - frozen
) -> str:
    """Reconstruct scans with several methods, after leaving out samples on request.

    A fully sampled scan gives errors; an undersampled one gives images only. Several scans, or a
    folder of them, go on when one of them fails; processes started by `torchrun` share them out.

    Parameters
    ----------
    path
        Scans of any format that `info` knows: files, or folders of which every scan is taken.
    settings
        How, and where to.

    Returns
    -------
    What was done, and a table of errors (if there is a reference) and times.

    Raises
    ------
    FileExistsError
        When a file to write exists and neither `overwrite` nor `resume` is true.
    FileNotFoundError
        When a file to read is missing.
    OSError
        When nothing can be written where the output goes.
    ValueError
        When the scan, mask or runs cannot be used, for the reason given.
    PartlyFailed
        When some of several scans failed; `summary` is what would have been returned.

    Notes
    -----
    Errors are fastMRI's NMSE, PSNR and SSIM of the volume of magnitudes. The reference is the fully
    sampled scan combined with coil maps of unit norm: the given ones, or maps that are estimated
    from the full scan, whatever mask the reconstructions have to do with. In the .h5 file
    `reconstruction` (s, h, w) is that of the last method of the table, `reconstructions/NAME` that
    of each, and `complex_images/NAME` the same with its phase; other formats have a file for each
    method, FILE_METHOD, where there are several. With several scans, options of a reader, as `axes`
    and `contrast`, apply to the files of a format that has them.
    """
    paths = listed(path)
    if not paths:
        raise ValueError(message("there must be a scan to reconstruct", "none", "Name a file."))
    with joined() as ranks:
        settings = replace(
            settings,
            device=str(ranks.device(settings.device)),
            progress=settings.progress and ranks.first,
        )
        if not settings.names:
            rule = "there must be a method or a run to reconstruct with"
            raise ValueError(message(rule, "none", "Pass --method all, say."))
        plan = ranks.from_first(lambda: make_plan(paths, settings, several=ranks.size > 1))
        if plan is None:
            return ""  # the first process says what is wrong
        if plan.single:
            return reconstruct_one(plan, settings)
        return reconstruct_all(plan, settings, ranks)
