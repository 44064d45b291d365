"""The objective of language models.

Letters: B batch, T tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from monarch_sciml.training.objective import Batch, Objective


@dataclass(frozen=True)
class NextTokenObjective(Objective):
    """Predict the next token of every context, and report bits per token.

    Batches hold `input` and `target` (B, T), whole numbers. The network returns scores (B, T,
    vocabulary). The loss is the cross-entropy in nats, averaged over batch and tokens.
    `bits_per_token` is the same in bits (a token is a byte with `TextModule`); 2 to its power is
    the perplexity.
    """

    monitor: ClassVar[str] = "bits_per_token"

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the mean cross-entropy, in nats."""
        return F.cross_entropy(self.predict(model, batch).flatten(0, 1), batch["target"].flatten())

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the scores of the next tokens (B, T, vocabulary)."""
        return model(batch["input"])

    def evaluate(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the bits per token of each context."""
        scores, target = self.predict(model, batch).float(), batch["target"]
        nats = F.cross_entropy(scores.mT, target, reduction="none")  # (B, T)
        return {"bits_per_token": nats.mean(1) / math.log(2)}
