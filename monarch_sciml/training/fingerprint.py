"""Checksums of data, so that a run is resumed only with the data it was started with."""

from __future__ import annotations

import hashlib
from typing import Any

from torch.utils.data import Dataset

from monarch_sciml.training.records import TrainingData


def data_fingerprint(data: TrainingData) -> str | None:
    """Return a checksum of training and validation data; None if they do not provide one.

    A data set provides it by a method `fingerprint`, which returns a text that depends on the
    values alone and not on the place of the files or the machine. All data sets of this package
    have this method.
    """
    parts = [_of(data.train)]
    if data.validation is not None:
        parts.append(_of(data.validation))
    if None in parts:
        return None
    return hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()


def _of(dataset: Dataset[dict[str, Any]]) -> str | None:
    method = getattr(dataset, "fingerprint", None)
    return None if method is None else str(method())
