"""Draw the figures of docs/monarch_transform.md and print its table.

python docs/draw_monarch.py
"""

from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct, dst

from monarch_sciml import monarch
from monarch_sciml.evaluation.figures.style import COLORS, new_figure, save
from monarch_sciml.transforms import MonarchTransform

HERE = Path(__file__).parent
N, BLOCKS = 16, 4


def medium(n):
    """Return the eigenvectors of waves between two walls in a medium of varying speed, as rows."""
    points = (np.arange(n) + 0.5) / n
    speed = np.exp(0.7 * np.sin(2 * np.pi * points) + 0.4 * np.cos(6 * np.pi * points))
    faces = 2 / (1 / speed[1:] + 1 / speed[:-1])  # no flux through the walls
    operator = np.zeros((n, n))
    for i, c in enumerate(faces):
        operator[[i, i + 1], [i, i + 1]] += c
        operator[[i, i + 1], [i + 1, i]] -= c
    vectors = np.linalg.eigh(operator)[1]
    signs = np.sign(vectors[0])  # as those of cosines
    return real((vectors * signs).T)


def bases(n):
    """Return matrices of n rows, each an orthonormal basis, by name."""
    random = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    right = monarch.dft_factors(n)[1]
    order = monarch.digit_reversal((right.shape[-3], n // right.shape[-3]))
    dft = torch.fft.fft(torch.eye(n, dtype=torch.complex128), norm="ortho")
    # Makhoul's order turns a cosine transform into the real part of a Fourier transform
    makhoul = torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2).flip(0)])[order]
    return {
        "Fourier, input in 4-step order": dft[:, order],
        "Fourier, input in natural order": dft,
        "cosine (DCT-II), in its order": real(dct(np.eye(n), axis=0, norm="ortho"))[:, makhoul],
        "sine (DST-II), in its order": real(dst(np.eye(n), axis=0, norm="ortho"))[:, makhoul],
        "waves in a medium (eigenvectors), in that order": medium(n)[:, makhoul],
        "a random basis": real(random),
    }


def real(matrix):
    """Return a NumPy matrix as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(matrix))


def structure():
    """Draw the DFT of 16 points as the product P L P^T R."""
    left, right = monarch.dft_factors(N)
    order = monarch.digit_reversal((BLOCKS, BLOCKS))
    eye = torch.eye(N, dtype=torch.float64)
    dft = torch.fft.fft(eye.to(torch.complex128), norm="ortho")[:, order]
    strided = torch.arange(N).reshape(BLOCKS, BLOCKS).T.flatten()
    panels = [
        ("F, columns in 4-step order", dft),
        ("P", eye[strided]),
        ("L: block-diagonal", torch.block_diag(*left)),
        ("Pᵀ", eye[strided].T),
        ("R: block-diagonal", torch.block_diag(*right)),
    ]
    product = torch.linalg.multi_dot([matrix.to(torch.complex128) for _, matrix in panels[1:]])
    assert torch.allclose(product, dft)
    panels = [(title, matrix.real) for title, matrix in panels]
    figure = new_figure(10, 2.5)
    for axes, (title, matrix), sign in zip(figure.subplots(1, 5), panels, ["=", "·", "·", "·", ""]):
        limit = float(matrix.abs().max())
        axes.imshow(matrix, cmap="coolwarm", vmin=-limit, vmax=limit)
        axes.set(title=title, xticks=[], yticks=[])
        axes.title.set_fontsize(9)
        axes.text(1.06, 0.5, sign, transform=axes.transAxes, va="center", ha="center", fontsize=14)
        for edge in range(BLOCKS, N, BLOCKS):
            for line in (axes.axhline, axes.axvline):
                line(edge - 0.5, color="0.6", linewidth=0.4)
    save(figure, HERE / "monarch_structure.png", overwrite=True)


def learned():
    """Draw rows of a transform at its start, and after it was fitted to waves in a medium."""
    n = 64
    natural = medium(n).float()
    transform = MonarchTransform(n, init="dct", rank=4)
    start = transform(torch.eye(n)).detach().T
    optimizer = torch.optim.Adam(transform.parameters(), lr=2e-2)
    x = torch.eye(n)
    for _ in range(1500):
        optimizer.zero_grad()
        loss = (transform(x).T - natural).square().sum() / n
        loss.backward()
        optimizer.step()
    end = transform(x).detach().T
    figure = new_figure(10, 2.4)
    for axes, row in zip(figure.subplots(1, 3, sharey=True), (1, 4, 9)):
        axes.plot(start[row], color="0.65", label="start: cosine")
        axes.plot(natural[row], color=COLORS[1], label="wanted: eigenvector")
        axes.plot(end[row], "--", color=COLORS[0], label="after fitting")
        axes.set(title=f"row {row}", xlabel="grid point")
        axes.title.set_fontsize(9)
    figure.axes[0].legend(fontsize=7, loc="lower left")
    save(figure, HERE / "monarch_rows.png", overwrite=True)
    print(
        f"fit: error {float((end - natural).norm() / natural.norm()):.3f} of 1, 1500 steps of Adam"
    )


def table(n=64, blocks=8):
    """Print how far the nearest Monarch matrix of each rank is from known bases."""
    ranks = (1, 2, 4, 8)
    print(f"relative error of the nearest Monarch matrix, n = {n}, {blocks} blocks")
    print("| basis | " + " | ".join(f"rank {rank}" for rank in ranks) + " |")
    print("|:--|" + "--:|" * len(ranks))
    for name, matrix in bases(n).items():
        errors = []
        for rank in ranks:
            near = monarch.to_dense(*monarch.project(matrix, blocks, rank))
            errors.append(float(torch.linalg.norm(near - matrix) / torch.linalg.norm(matrix)))
        print(f"| {name} | " + " | ".join(f"{e:.2f}" if e > 5e-3 else "0" for e in errors) + " |")


if __name__ == "__main__":
    torch.manual_seed(0)
    structure()
    table()
    learned()
