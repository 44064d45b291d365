"""The machine and the software that produced a number."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "monarch_sciml",
    "torch",
    "neuraloperator",
    "numpy",
    "scipy",
    "h5py",
    "accelerate",
    "safetensors",
    "triton",
)


def environment() -> dict[str, Any]:
    """Describe the machine and the software, as JSON values, so that a measurement can be repeated.

    Returns
    -------
    `python`, `system`, `machine` (architecture), `packages` (version of each one installed), `cpu`
    (model), `n_cpus` (usable by this process), `n_threads` (torch's), `device` (name of the GPU, or
    "cpu"), `n_devices`, `cuda` (None without), `float32_matmul_precision`, `git_commit` and
    `git_modified` of the package's own checkout (None when it is installed).

    Notes
    -----
    The description holds no host name, user name or absolute path, so it may be published.

    Examples
    --------
    >>> environment()["packages"]["torch"] == torch.__version__
    True
    """
    cuda = torch.cuda.is_available()
    commit = _git("rev-parse", "HEAD")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "packages": _versions(),
        "cpu": _cpu(),
        "n_cpus": _n_cpus(),
        "n_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "n_devices": torch.cuda.device_count() if cuda else 0,
        "cuda": torch.version.cuda if cuda else None,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "git_commit": commit,
        "git_modified": None if commit is None else bool(_git("status", "--porcelain", "-uno")),
    }


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _n_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _git(*arguments: str) -> str | None:
    """Return the answer of git about the checkout that TRACKS this file; None without one."""
    here = Path(__file__)

    def ask(*words: str) -> str:
        answer = subprocess.run(
            ["git", *words], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10
        )
        return answer.stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", here.name)  # a venv inside another checkout is not it
        return ask(*arguments)
    except (OSError, subprocess.SubprocessError):
        return None
