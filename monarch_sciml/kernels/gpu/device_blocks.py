"""Device code of the batched complex product and of the fused two-factor Monarch transform.

Letters: g groups, j rows, k the axis contracted, o columns of the result; G, J, K, N of them; B*
sizes of a block. Every operand is a pair of pointers, real and imaginary part, with
strides in elements; where a flag says that it is real, the second is never read.

See `device_spectral` for why nothing is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

    import triton.language as tl

    from monarch_sciml.kernels.gpu.device_spectral import multiply_add

    constexpr: TypeAlias = Any  # Triton reads annotations by their names
    Pointer: TypeAlias = Any
    Integer: TypeAlias = Any
    Block: TypeAlias = Any


def load_pair(
    real: Pointer, imag: Pointer, at: Block, keep: Block, COMPLEX: constexpr, CONJ: constexpr
) -> tuple[Block, Block]:
    """Load real and imaginary parts; a real operand is returned twice."""
    re = tl.load(real + at, mask=keep, other=0.0)
    im = re
    if COMPLEX:
        im = tl.load(imag + at, mask=keep, other=0.0)
        if CONJ:
            im = -im
    return re, im


def complex_product(
    a: Block, b: Block, c: Block, d: Block, real: Block, imag: Block,
    X_COMPLEX: constexpr, F_COMPLEX: constexpr, OUT_COMPLEX: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> tuple[Block, Block]:  # fmt: skip
    """Add (a + ib)(c + id) to real and imaginary sums, leaving out the terms that are known to be
    zero.
    """
    real = multiply_add(a, c, real, DTYPE, UPCAST, PRECISION)
    if X_COMPLEX and F_COMPLEX:
        real = multiply_add(-b, d, real, DTYPE, UPCAST, PRECISION)
    if OUT_COMPLEX and F_COMPLEX:
        imag = multiply_add(a, d, imag, DTYPE, UPCAST, PRECISION)
    if OUT_COMPLEX and X_COMPLEX:
        imag = multiply_add(b, c, imag, DTYPE, UPCAST, PRECISION)
    return real, imag


def product_kernel(
    x_re: Pointer, x_im: Pointer, f_re: Pointer, f_im: Pointer, bias: Pointer,
    y_re: Pointer, y_im: Pointer,
    x_g: Integer, x_j: Integer, x_k: Integer, f_g: Integer, f_k: Integer, f_o: Integer,
    y_g: Integer, y_j: Integer, y_o: Integer, C: Integer, G: Integer, J: Integer, N: Integer,
    D: Integer, K: constexpr, X_COMPLEX: constexpr, F_COMPLEX: constexpr, OUT_COMPLEX: constexpr,
    OUT_CONJ: constexpr, BIAS: constexpr,
    BG: constexpr, BJ: constexpr, BK: constexpr, BO: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """y[g, j, o] = sum_k x[g, j, k] f[g, k, o] (+ bias[j mod C]) over D <= K entries, one block a
    program.
    """
    g = (tl.program_id(0) * BG + tl.arange(0, BG))[:, None, None]
    j = (tl.program_id(1) * BJ + tl.arange(0, BJ))[None, :, None]
    o = (tl.program_id(2) * BO + tl.arange(0, BO))[None, None, :]
    wide_g, wide_j = g.to(tl.int64), j.to(tl.int64)
    real, imag = tl.full((BG, BJ, BO), 0.0, tl.float32), tl.full((BG, BJ, BO), 0.0, tl.float32)
    if BIAS:
        real += tl.load(bias + j % C, mask=j < J, other=0.0)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        by_x, by_f = k[None, None, :], k[None, :, None]
        keep = (g < G) & (j < J) & (by_x < D)
        at = wide_g * x_g + wide_j * x_j + by_x.to(tl.int64) * x_k
        a, b = load_pair(x_re, x_im, at, keep, X_COMPLEX, False)
        keep = (g < G) & (by_f < D) & (o < N)
        at = wide_g * f_g + by_f.to(tl.int64) * f_k + o * f_o
        c, d = load_pair(f_re, f_im, at, keep, F_COMPLEX, False)
        real, imag = complex_product(
            a, b, c, d, real, imag, X_COMPLEX, F_COMPLEX, OUT_COMPLEX, DTYPE, UPCAST, PRECISION
        )
    at = wide_g * y_g + wide_j * y_j + o * y_o
    keep = (g < G) & (j < J) & (o < N)
    tl.store(y_re + at, real, mask=keep)
    if OUT_COMPLEX:
        if OUT_CONJ:
            imag = -imag
        tl.store(y_im + at, imag, mask=keep)


def monarch_kernel(
    x_re: Pointer, x_im: Pointer, first_re: Pointer, first_im: Pointer,
    second_re: Pointer, second_im: Pointer, before_re: Pointer, before_im: Pointer,
    after_re: Pointer, after_im: Pointer, scratch: Pointer, y_re: Pointer, y_im: Pointer,
    x_0: Integer, x_1: Integer, x_j: Integer, x_n: Integer,
    b_0: Integer, b_1: Integer, b_j: Integer, b_n: Integer,
    a_0: Integer, a_1: Integer, a_j: Integer, a_n: Integer,
    y_0: Integer, y_1: Integer, y_j: Integer, y_n: Integer,
    first_g: Integer, first_o: Integer, first_k: Integer,
    second_g: Integer, second_o: Integer, second_k: Integer,
    TILES: Integer, S_1: Integer, J: Integer,
    NA: constexpr, NB: constexpr, ROUNDS: constexpr,
    X_COMPLEX: constexpr, F_COMPLEX: constexpr, F_CONJ: constexpr, OUT_COMPLEX: constexpr,
    BEFORE: constexpr, AFTER: constexpr,
    BJ: constexpr, BG: constexpr, BK: constexpr, BO: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """Compute after (M (before x)) for tiles of BJ vectors, with the intermediate result in a
    cache.

    Input point a NB + b, output point a' + NA b'; the first factor (b, a', a) contracts a for every
    b, the second (a', b', b) contracts b for every a'. An analysis has NA = N_1 and NB = N_2, a
    synthesis the reverse. A vector is (i_0, i_1, j), tile t = (i_0 S_1 + i_1) ceil(J / BJ) + j.
    BEFORE and AFTER: 0 nothing, 1 real factors, 2 complex ones, 3 their conjugates.

    Programs are persistent: each one reuses its own (2, NA, NB, BJ) of `scratch`, which therefore
    stays in the L2 cache.
    """
    size: constexpr = NA * NB * BJ
    between = scratch + tl.program_id(0).to(tl.int64) * (2 * size)
    lane = tl.arange(0, BJ)[None, :, None]
    for turn in range(ROUNDS):
        tile = tl.program_id(0) + turn * tl.num_programs(0)
        if tile < TILES:
            per_slice = (J + BJ - 1) // BJ
            i_0 = (tile // per_slice // S_1).to(tl.int64)
            i_1 = (tile // per_slice % S_1).to(tl.int64)
            j = (tile % per_slice) * BJ + lane
            x_at = i_0 * x_0 + i_1 * x_1 + j.to(tl.int64) * x_j
            b_at = i_0 * b_0 + i_1 * b_1 + j.to(tl.int64) * b_j
            for g_start in range(0, NB, BG):
                g = (g_start + tl.arange(0, BG))[:, None, None]
                for o_start in range(0, NA, BO):
                    o = (o_start + tl.arange(0, BO))[None, None, :]
                    real = tl.full((BG, BJ, BO), 0.0, tl.float32)
                    imag = tl.full((BG, BJ, BO), 0.0, tl.float32)
                    for k_start in range(0, NA, BK):
                        k = k_start + tl.arange(0, BK)
                        point = k[None, None, :] * NB + g
                        keep = (g < NB) & (k[None, None, :] < NA) & (j < J)
                        a, b = load_pair(x_re, x_im, x_at + point * x_n, keep, X_COMPLEX, False)
                        if BEFORE > 0:
                            a, b = scaled(
                                a, b, before_re, before_im, b_at + point * b_n, keep,
                                X_COMPLEX, BEFORE,
                            )  # fmt: skip
                        at = g * first_g + k[None, :, None] * first_k + o * first_o
                        keep = (g < NB) & (k[None, :, None] < NA) & (o < NA)
                        c, d = load_pair(first_re, first_im, at, keep, F_COMPLEX, F_CONJ)
                        real, imag = complex_product(
                            a, b, c, d, real, imag, X_COMPLEX or BEFORE > 1, F_COMPLEX, True,
                            DTYPE, UPCAST, PRECISION,
                        )  # fmt: skip
                    at = (o * NB + g) * BJ + lane
                    keep = (g < NB) & (o < NA) & (lane < BJ)
                    tl.store(between + at, real, mask=keep)
                    tl.store(between + size + at, imag, mask=keep)
            tl.debug_barrier()  # other threads of this program read what was written
            y_at = i_0 * y_0 + i_1 * y_1 + j.to(tl.int64) * y_j
            a_at = i_0 * a_0 + i_1 * a_1 + j.to(tl.int64) * a_j
            for g_start in range(0, NA, BG):
                g = (g_start + tl.arange(0, BG))[:, None, None]
                for o_start in range(0, NB, BO):
                    o = (o_start + tl.arange(0, BO))[None, None, :]
                    real = tl.full((BG, BJ, BO), 0.0, tl.float32)
                    imag = tl.full((BG, BJ, BO), 0.0, tl.float32)
                    for k_start in range(0, NB, BK):
                        k = k_start + tl.arange(0, BK)
                        at = (g * NB + k[None, None, :]) * BJ + lane
                        keep = (g < NA) & (k[None, None, :] < NB) & (lane < BJ)
                        a, b = load_pair(between, between + size, at, keep, True, False)
                        at = g * second_g + k[None, :, None] * second_k + o * second_o
                        keep = (g < NA) & (k[None, :, None] < NB) & (o < NB)
                        c, d = load_pair(second_re, second_im, at, keep, F_COMPLEX, F_CONJ)
                        real, imag = complex_product(
                            a, b, c, d, real, imag, True, F_COMPLEX, True,
                            DTYPE, UPCAST, PRECISION,
                        )  # fmt: skip
                    point = g + NA * o
                    keep = (g < NA) & (o < NB) & (j < J)
                    if AFTER > 0:
                        real, imag = scaled(
                            real, imag, after_re, after_im, a_at + point * a_n, keep, True, AFTER
                        )
                    tl.store(y_re + y_at + point * y_n, real, mask=keep)
                    if OUT_COMPLEX:
                        tl.store(y_im + y_at + point * y_n, imag, mask=keep)
            tl.debug_barrier()  # before the next tile overwrites what lies between


def scaled(
    a: Block, b: Block, real: Pointer, imag: Pointer, at: Block, keep: Block,
    COMPLEX: constexpr, KIND: constexpr,
) -> tuple[Block, Block]:  # fmt: skip
    """Multiply a + ib, or a alone, by factors in memory; KIND 1 real, 2 complex, 3 conjugate."""
    c, d = load_pair(real, imag, at, keep, KIND > 1, KIND == 3)
    re, im = a * c, a * d
    if COMPLEX:
        im = b * c
        if KIND > 1:
            re, im = a * c - b * d, a * d + b * c
    return re, im
