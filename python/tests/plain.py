"""The formulas of both papers in plain torch operators: what the operators are compared with.

q, k, v are [B, N, H, D] in token order, the grid is (rows, columns) of a frame.
"""

import torch
from torch import Tensor


def dense(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, block_causal_size: int = 0) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale
    if block_causal_size:
        block = torch.arange(q.shape[1]) // block_causal_size
        scores = scores.masked_fill(block[None, :] > block[:, None], -torch.inf)
    return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v)


def norm_rope(x: Tensor, weight: Tensor | None, rope: Tensor | None, eps: float = 1e-6) -> Tensor:
    if weight is not None:
        flat = x.flatten(2)
        x = (flat * (flat.square().mean(-1, keepdim=True) + eps).rsqrt() * weight).view(x.shape)
    if rope is not None:
        x = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * rope[:, None]).flatten(-2)
    return x


def _tiles(t: Tensor, grid: tuple[int, int], f_tied: int, h_reduce: int, w_reduce: int) -> Tensor:
    """[B, N, H, D] -> [B, H, blocks, I, J, D]"""
    batch, tokens, heads, dim = t.shape
    rows, columns = grid
    frames = tokens // (rows * columns)
    t = t.reshape(batch, frames // f_tied, f_tied, h_reduce, rows // h_reduce, w_reduce, columns // w_reduce, heads, dim)
    t = t.permute(0, 7, 1, 3, 5, 2, 4, 6, 8)  # b a f c i e j h d -> b h a c e f i j d
    return t.flatten(5, 6).flatten(2, 4)


def _untiled(t: Tensor, grid: tuple[int, int], f_tied: int, h_reduce: int, w_reduce: int) -> Tensor:
    batch, heads, blocks, _, _, dim = t.shape
    rows, columns = grid
    t = t.reshape(
        batch, heads, blocks // (h_reduce * w_reduce), h_reduce, w_reduce, f_tied, rows // h_reduce, columns // w_reduce, dim
    )
    return t.permute(0, 2, 5, 3, 6, 4, 7, 1, 8).flatten(1, 6)  # b h a c e f i j d -> b a f c i e j h d


def monarchrt(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    *,
    f_tied: int = 1,
    h_reduce: int = 1,
    w_reduce: int = 1,
    num_iters: int = 1,
    scale: float | None = None,
) -> Tensor:
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    tiling = (grid, f_tied, h_reduce, w_reduce)
    q, k, v = (_tiles(t, *tiling) for t in (q, k, v))  # q [n h a i j d], k and v [n h f k l d]
    a_r = q[:, :, :, None].expand(-1, -1, -1, k.shape[2], -1, -1, -1)  # [n h a f k j d]
    g = torch.ones(a_r.shape[:-1], dtype=q.dtype)
    if num_iters > 1:
        g = g / (1 + 1e-6)
    for iteration in range(num_iters):
        log_r = (torch.einsum("nhafkjd,nhfkld->nhafkjl", a_r, k) * scale * g[..., None]).log_softmax(-1)
        r = log_r.exp()
        a_l = torch.einsum("nhafkjl,nhfkld->nhafkjd", r, k)
        c_l = (r * log_r).sum(-1)
        z = torch.einsum("nhaijd,nhafkjd->nhaijfk", q, a_l) * scale - c_l.permute(0, 1, 2, 5, 3, 4)[:, :, :, None]
        left = z.flatten(-2).softmax(-1).view_as(z)
        if iteration + 1 < num_iters:
            a_r = torch.einsum("nhaijfk,nhaijd->nhafkjd", left, q)
            g = (left.sum(3).permute(0, 1, 2, 4, 5, 3) + 1e-6).reciprocal().clamp_max(1e4)
    y = torch.einsum("nhafkjl,nhfkld->nhafkjd", r, v)
    return _untiled(torch.einsum("nhaijfk,nhafkjd->nhaijd", left, y), *tiling)


_AXES = {  # of frames, rows, columns; and how many of them the first index has
    "fh,w": ((0, 1, 2), 2),
    "w,fh": ((2, 0, 1), 1),
    "f,hw": ((0, 1, 2), 1),
    "hw,f": ((1, 2, 0), 2),
    "fw,h": ((0, 2, 1), 2),
    "h,fw": ((1, 0, 2), 1),
}


def vmonarch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grid: tuple[int, int],
    *,
    num_iters: int = 2,
    c_r_min: float = 0.1,
    recompute_first_frame: bool = True,
    frames_per_factor: int = 1,
    split: str = "f,hw",
) -> Tensor:
    scale = q.shape[-1] ** -0.5
    frames = q.shape[1] // (grid[0] * grid[1])
    extents = (frames, *grid)
    axes, num_first = _AXES[split]
    first = 1
    for axis in axes[:num_first]:
        first *= extents[axis]
    first //= frames_per_factor
    order = torch.arange(q.shape[1]).view(extents).permute(axes).flatten()
    exact = dense(q[:, : grid[0] * grid[1]], k, v)
    q, k, v = (t[:, order].transpose(1, 2).unflatten(2, (first, -1)) for t in (q, k, v))  # [n h m P d]
    a_r, c_r = q, torch.ones(q.shape[:-1], dtype=q.dtype)
    for iteration in range(num_iters):
        log_r = (torch.einsum("nhkjd,nhkld->nhkjl", a_r, k) * scale / c_r.clamp_min(c_r_min)[..., None]).log_softmax(-1)
        r = log_r.exp()
        a_l = torch.einsum("nhkjl,nhkld->nhkjd", r, k)
        entropy = -(r * log_r).sum(-1).detach()
        left = (torch.einsum("nhijd,nhkjd->nhjik", q, a_l) * scale + entropy.transpose(2, 3)[:, :, :, None]).softmax(-1)
        a_r = torch.einsum("nhjik,nhijd->nhkjd", left, q)
        c_r = left.sum(3).transpose(2, 3)
    y = torch.einsum("nhkjl,nhkld->nhkjd", r, v)
    out = torch.einsum("nhjik,nhkjd->nhijd", left, y).flatten(2, 3).transpose(1, 2)[:, order.argsort()]
    if recompute_first_frame:
        out = torch.cat((exact, out[:, exact.shape[1] :]), dim=1)
    return out
