"""Device code of the spectral layer's Triton kernels: plain functions that `launch` compiles.

Letters: R rows (batch times channels, C channels), H x W grid, K1 and K2 kept modes along either
axis; B* sizes of a block. Planes of matrices are (2, K, n), those of modes (2, R, K1, K2), real
part first, both contiguous. The grid x (.., .., H, W) may have any strides.

`tl` is not imported here: `launch` puts it into the namespace that it compiles in, so that
the module can be imported where Triton is missing, and either interpreted or compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeAlias

    import triton.language as tl

    constexpr: TypeAlias = Any  # Triton reads annotations by their names
    Pointer: TypeAlias = Any
    Integer: TypeAlias = Any
    Block: TypeAlias = Any


def multiply_add(
    a: Block, b: Block, total: Block, DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr
) -> Block:
    """Return total + a b with operands rounded to DTYPE and sums in single precision."""
    a, b = a.to(DTYPE), b.to(DTYPE)
    if UPCAST:  # the interpreter cannot multiply bfloat16
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


def planes_at(planes: Pointer, size: Integer, offsets: Block, keep: Block) -> tuple[Block, Block]:
    """Load real and imaginary parts; `size` is the distance between the two planes."""
    real = tl.load(planes + offsets, mask=keep, other=0.0)
    return real, tl.load(planes + size + offsets, mask=keep, other=0.0)


def rows_to_modes(
    x: Pointer, last: Pointer, h: Block, x_h: Integer, x_w: Integer,
    H: constexpr, W: constexpr, K2: constexpr,
    BH: constexpr, BW: constexpr, BK2: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> tuple[Block, Block]:  # fmt: skip
    """Transform rows h of one image: (BH, W) -> (BH, BK2), real and imaginary."""
    k2 = tl.arange(0, BK2)
    real, imag = tl.full((BH, BK2), 0.0, tl.float32), tl.full((BH, BK2), 0.0, tl.float32)
    for start in range(0, W, BW):
        w = start + tl.arange(0, BW)
        keep = (h < H)[:, None] & (w < W)[None, :]
        data = tl.load(x + h[:, None] * x_h + w[None, :] * x_w, mask=keep, other=0.0)
        at, inside = k2[None, :] * W + w[:, None], (k2 < K2)[None, :] & (w < W)[:, None]
        a_real, a_imag = planes_at(last, K2 * W, at, inside)  # (BW, BK2)
        real = multiply_add(data, a_real, real, DTYPE, UPCAST, PRECISION)
        imag = multiply_add(data, a_imag, imag, DTYPE, UPCAST, PRECISION)
    return real, imag


def modes_to_rows(
    c_real: Block, c_imag: Block, first: Pointer, h: Block,
    H: constexpr, K1: constexpr, BH: constexpr, BK1: constexpr, BK2: constexpr,
    PRECISION: constexpr,
) -> tuple[Block, Block]:  # fmt: skip
    """Transform modes (BK1, BK2) along the first axis to rows h: (BH, BK2)."""
    k1 = tl.arange(0, BK1)
    at, inside = k1[None, :] * H + h[:, None], (k1 < K1)[None, :] & (h < H)[:, None]
    g_real, g_imag = planes_at(first, K1 * H, at, inside)  # (BH, BK1)
    zero = tl.full((BH, BK2), 0.0, tl.float32)
    real = multiply_add(g_real, c_real, zero, tl.float32, False, PRECISION)
    real = multiply_add(-g_imag, c_imag, real, tl.float32, False, PRECISION)
    imag = multiply_add(g_real, c_imag, zero, tl.float32, False, PRECISION)
    return real, multiply_add(g_imag, c_real, imag, tl.float32, False, PRECISION)


def modes_of(
    modes: Pointer, r: Integer, R: Integer,
    K1: constexpr, K2: constexpr, BK1: constexpr, BK2: constexpr,
) -> tuple[Block, Block]:  # fmt: skip
    """Load the modes of row r, (BK1, BK2)."""
    k1, k2 = tl.arange(0, BK1)[:, None], tl.arange(0, BK2)[None, :]
    start = r.to(tl.int64) * (K1 * K2)
    return planes_at(modes + start, R * (K1 * K2), k1 * K2 + k2, (k1 < K1) & (k2 < K2))


def analyse_kernel(
    x: Pointer, first: Pointer, last: Pointer, out: Pointer,
    x_b: Integer, x_c: Integer, x_h: Integer, x_w: Integer, C: Integer, R: Integer,
    H: constexpr, W: constexpr, K1: constexpr, K2: constexpr,
    BK1: constexpr, BK2: constexpr, BH: constexpr, BW: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """Transform both axes of one image, modes = A_1 x A_2^T, with one program for each row."""
    r = tl.program_id(0)
    x += (r // C).to(tl.int64) * x_b + (r % C).to(tl.int64) * x_c
    k1, k2 = tl.arange(0, BK1), tl.arange(0, BK2)
    real, imag = tl.full((BK1, BK2), 0.0, tl.float32), tl.full((BK1, BK2), 0.0, tl.float32)
    for start in range(0, H, BH):
        h = start + tl.arange(0, BH)
        s_real, s_imag = rows_to_modes(
            x, last, h, x_h, x_w, H, W, K2, BH, BW, BK2, DTYPE, UPCAST, PRECISION
        )
        at, inside = k1[:, None] * H + h[None, :], (k1 < K1)[:, None] & (h < H)[None, :]
        a_real, a_imag = planes_at(first, K1 * H, at, inside)  # (BK1, BH)
        real = multiply_add(a_real, s_real, real, tl.float32, False, PRECISION)
        real = multiply_add(-a_imag, s_imag, real, tl.float32, False, PRECISION)
        imag = multiply_add(a_real, s_imag, imag, tl.float32, False, PRECISION)
        imag = multiply_add(a_imag, s_real, imag, tl.float32, False, PRECISION)
    out += r.to(tl.int64) * (K1 * K2)
    at, inside = k1[:, None] * K2 + k2[None, :], (k1 < K1)[:, None] & (k2 < K2)[None, :]
    tl.store(out + at, real, mask=inside)
    tl.store(out + R * (K1 * K2) + at, imag, mask=inside)


def synthesise_kernel(
    modes: Pointer, first: Pointer, last: Pointer, bias: Pointer, y: Pointer,
    C: Integer, R: Integer,
    H: constexpr, W: constexpr, K1: constexpr, K2: constexpr, BIAS: constexpr,
    BK1: constexpr, BK2: constexpr, BH: constexpr, BW: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """Compute BH lines of one image, y = Re(G_1^T modes G_2) + bias; y (R, H, W) is contiguous."""
    r = tl.program_id(0)
    h = tl.program_id(1) * BH + tl.arange(0, BH)
    k2 = tl.arange(0, BK2)
    c_real, c_imag = modes_of(modes, r, R, K1, K2, BK1, BK2)
    t_real, t_imag = modes_to_rows(c_real, c_imag, first, h, H, K1, BH, BK1, BK2, PRECISION)
    y += r.to(tl.int64) * (H * W)
    for start in range(0, W, BW):
        w = start + tl.arange(0, BW)
        at, inside = k2[:, None] * W + w[None, :], (k2 < K2)[:, None] & (w < W)[None, :]
        g_real, g_imag = planes_at(last, K2 * W, at, inside)  # (BK2, BW)
        total = tl.full((BH, BW), 0.0, tl.float32)
        if BIAS:
            total += tl.load(bias + r % C)
        total = multiply_add(t_real, g_real, total, DTYPE, UPCAST, PRECISION)
        total = multiply_add(-t_imag, g_imag, total, DTYPE, UPCAST, PRECISION)
        keep = (h < H)[:, None] & (w < W)[None, :]
        tl.store(y + h[:, None] * W + w[None, :], total.to(DTYPE), mask=keep)


def last_gradient_kernel(
    x: Pointer, modes: Pointer, first: Pointer, out: Pointer,
    x_b: Integer, x_c: Integer, x_h: Integer, x_w: Integer, C: Integer, R: Integer,
    H: constexpr, W: constexpr, K1: constexpr, K2: constexpr, ROWS: constexpr,
    BK1: constexpr, BK2: constexpr, BH: constexpr, BW: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """Sum (G_1^T modes)^H x over ROWS rows, the gradient of G_2; out (splits, 2, K2, W)."""
    w = tl.program_id(0) * BW + tl.arange(0, BW)
    split = tl.program_id(1)
    k2 = tl.arange(0, BK2)
    real, imag = tl.full((BK2, BW), 0.0, tl.float32), tl.full((BK2, BW), 0.0, tl.float32)
    for i in range(ROWS):
        r = split * ROWS + i
        image = x + (r // C).to(tl.int64) * x_b + (r % C).to(tl.int64) * x_c
        c_real, c_imag = modes_of(modes, r, R, K1, K2, BK1, BK2)
        for start in range(0, H, BH):
            h = start + tl.arange(0, BH)
            t_real, t_imag = modes_to_rows(c_real, c_imag, first, h, H, K1, BH, BK1, BK2, PRECISION)
            keep = (h < H)[:, None] & (w < W)[None, :]
            data = tl.load(image + h[:, None] * x_h + w[None, :] * x_w, mask=keep, other=0.0)
            real = multiply_add(tl.trans(t_real), data, real, DTYPE, UPCAST, PRECISION)
            imag = multiply_add(tl.trans(-t_imag), data, imag, DTYPE, UPCAST, PRECISION)
    at, inside = k2[:, None] * W + w[None, :], (k2 < K2)[:, None] & (w < W)[None, :]
    out += split * (2 * K2 * W)
    tl.store(out + at, real, mask=inside)
    tl.store(out + K2 * W + at, imag, mask=inside)


def first_gradient_kernel(
    x: Pointer, modes: Pointer, last: Pointer, out: Pointer,
    x_b: Integer, x_c: Integer, x_h: Integer, x_w: Integer, C: Integer, R: Integer,
    H: constexpr, W: constexpr, K1: constexpr, K2: constexpr, ROWS: constexpr,
    BK1: constexpr, BK2: constexpr, BH: constexpr, BW: constexpr,
    DTYPE: constexpr, UPCAST: constexpr, PRECISION: constexpr,
) -> None:  # fmt: skip
    """Sum conj(modes (x G_2^T)^T) over ROWS rows, the gradient of G_1; out (splits, 2, K1, H)."""
    h = tl.program_id(0) * BH + tl.arange(0, BH)
    split = tl.program_id(1)
    k1 = tl.arange(0, BK1)
    real, imag = tl.full((BK1, BH), 0.0, tl.float32), tl.full((BK1, BH), 0.0, tl.float32)
    for i in range(ROWS):
        r = split * ROWS + i
        image = x + (r // C).to(tl.int64) * x_b + (r % C).to(tl.int64) * x_c
        c_real, c_imag = modes_of(modes, r, R, K1, K2, BK1, BK2)
        s_real, s_imag = rows_to_modes(
            image, last, h, x_h, x_w, H, W, K2, BH, BW, BK2, DTYPE, UPCAST, PRECISION
        )
        s_real, s_imag = tl.trans(s_real), tl.trans(s_imag)  # (BK2, BH)
        real = multiply_add(c_real, s_real, real, tl.float32, False, PRECISION)
        real = multiply_add(-c_imag, s_imag, real, tl.float32, False, PRECISION)
        imag = multiply_add(-c_real, s_imag, imag, tl.float32, False, PRECISION)
        imag = multiply_add(-c_imag, s_real, imag, tl.float32, False, PRECISION)
    at, inside = k1[:, None] * H + h[None, :], (k1 < K1)[:, None] & (h < H)[None, :]
    out += split * (2 * K1 * H)
    tl.store(out + at, real, mask=inside)
    tl.store(out + K1 * H + at, imag, mask=inside)
