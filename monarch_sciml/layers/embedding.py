"""An embedding whose table is the Monarch matrix of a linear layer that it is tied to.

Letters: N tokens, E embedding size; k, l, p, s, t have the meaning they have in layers/linear.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from monarch_sciml._checks import message
from monarch_sciml.layers.computed_weight import ComputedWeight
from monarch_sciml.layers.linear import MonarchLinear


class MonarchEmbedding(nn.Module):
    """Look up rows of a Monarch matrix without forming it, for an embedding that is tied to a
    layer.

    The layer owns no matrix. It shares `left` and `right` with the linear layer that maps an
    embedding to the scores of all words, so that both stay tied while they are trained.

    Parameters
    ----------
    linear
        The layer that maps E features to the scores of the words. Its factors are shared.
    padding_idx
        Row whose gradient is left out, as in nn.Embedding.

    Attributes
    ----------
    left, right
        The parameters of `linear` themselves.
    """

    def __init__(self, linear: MonarchLinear, padding_idx: int | None = None) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = linear.out_features, linear.in_features
        self.order, self.padding_idx = linear.order, padding_idx
        self.left, self.right = linear.left, linear.right
        self.max_norm, self.sparse, self.scale_grad_by_freq = None, False, False

    def forward(self, words: Tensor) -> Tensor:
        """Return the rows of these words, shape (*words.shape, E).

        Raises
        ------
        IndexError
            When a word is negative or not in the table. On a GPU only words beyond the padded table
            are noticed.
        """
        if words.device.type == "cpu" and not torch.compiler.is_compiling():
            self._check(words)
        rows = self._rows(words.reshape(-1)).unflatten(0, words.shape)
        if self.padding_idx is not None:
            rows = torch.where((words == self.padding_idx)[..., None], rows.detach(), rows)
        return rows

    def _check(self, words: Tensor) -> None:
        """Refuse words that nn.Embedding refuses; the factors are padded to whole blocks."""
        outside = words[(words < 0) | (words >= self.num_embeddings)]
        if outside.numel():
            rule = f"every word must be a number from 0 to {self.num_embeddings - 1}"
            raise IndexError(message(rule, int(outside[0]), "Check the tokens."))

    def _rows(self, words: Tensor) -> Tensor:
        n_left, n_s, _ = self.left.shape
        n_right, n_q, _ = self.right.shape
        if self.order == "strided":  # row s·l + j
            inside, block = words // n_left, words % n_left
        else:  # row j·s_max + s
            inside, block = words % n_s, words // n_s
        row = self.left[block, inside].unflatten(-1, (n_right, n_q // n_left))  # (N, k, t)
        chosen = nn.functional.one_hot(block, n_left).to(row.dtype)  # (N, l)
        z = row[..., None] * chosen[:, None, None, :]  # (N, k, t, l)
        y = torch.bmm(z.flatten(2).transpose(0, 1), self.right)  # (k, N, t·l) -> (k, N, p)
        return y.transpose(0, 1).flatten(1)[:, : self.embedding_dim]

    @property
    def weight(self) -> Tensor:
        """Compute the table, shape (words, E), which cannot be written."""
        rows = self._rows(torch.arange(self.num_embeddings, device=self.left.device))
        return rows.as_subclass(ComputedWeight)

    def to_embedding(self) -> nn.Embedding:
        """Return the nn.Embedding of the same table."""
        table = self.weight.detach().as_subclass(Tensor).clone()
        return nn.Embedding.from_pretrained(table, freeze=False, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        """Return the sizes for print(layer)."""
        return f"{self.num_embeddings}, {self.embedding_dim}"
