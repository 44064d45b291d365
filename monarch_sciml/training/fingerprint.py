"""Tell the data of a run from others: a run is resumed with the data it was started with."""

from __future__ import annotations

import hashlib
from typing import Any

from torch.utils.data import Dataset

from monarch_sciml.training.records import TrainingData


def data_fingerprint(data: TrainingData) -> str | None:
    """Return a checksum of training and validation data; None where they have none.

    A data set says what it is by a method `fingerprint`, which returns a text that depends on the
    values alone: not on where the files are, nor on the machine. Data sets of this package have it.
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
