#!/usr/bin/env python3
"""Times Monarch attention composed of PyTorch's operators, and this project's operator, in one Python process.

    python attention.py --threads 2 --repeats 9

One iteration of arXiv 2602.12271 at tiling (1, 1, 1), float32, as one writes it down in Python three ways: einsum on tokens as they lie,
einsum on heads in front, batched matmul. Beside them scaled_dot_product_attention on the dense problem, a 2048³ product, and
`monarch_attention` (pip install ./python). All take turns; gradients with --backward. Prints one line of JSON each.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

import monarch_attention as ma


class Composed:
    """q [B, A I J, H, D], k and v [B, F I J, H, D]: blocks are frames of I rows and J columns."""

    def __init__(self, rows: int, columns: int, scale: float) -> None:
        self.rows, self.columns, self.scale = rows, columns, scale

    def blocks(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(1, (-1, self.rows, self.columns))

    def tokens_first(self, q, k, v):
        q, k, v = map(self.blocks, (q, k, v))
        r = torch.softmax(torch.einsum("bakjhd,bfklhd->bhafkjl", q, k) * self.scale, -1)
        c_l = torch.xlogy(r, r).sum(-1)
        a_l = torch.einsum("bhafkjl,bfklhd->bhafkjd", r, k)
        y = torch.einsum("bhafkjl,bfklhd->bhafkjd", r, v)
        w = torch.einsum("baijhd,bhafkjd->bhaijfk", q, a_l) * self.scale - c_l.permute(0, 1, 2, 5, 3, 4).unsqueeze(3)
        l = torch.softmax(w.flatten(-2), -1).view_as(w)
        return torch.einsum("bhaijfk,bhafkjd->baijhd", l, y).flatten(1, 3)

    def heads_first(self, q, k, v):
        q, k, v = (self.blocks(x).permute(0, 4, 1, 2, 3, 5).contiguous() for x in (q, k, v))
        z = torch.einsum("bhakjd,bhfkld->bhafkjl", q, k) * self.scale
        r = torch.softmax(z, -1)
        c_l = (r * z).sum(-1) - torch.logsumexp(z, -1)
        a_l = torch.einsum("bhafkjl,bhfkld->bhafkjd", r, k)
        y = torch.einsum("bhafkjl,bhfkld->bhafkjd", r, v)
        w = torch.einsum("bhaijd,bhafkjd->bhaijfk", q, a_l) * self.scale - c_l.permute(0, 1, 2, 5, 3, 4).unsqueeze(3)
        l = torch.softmax(w.flatten(-2), -1).view_as(w)
        return torch.einsum("bhaijfk,bhafkjd->bhaijd", l, y).permute(0, 2, 3, 4, 1, 5).flatten(1, 3)

    def matmul(self, q, k, v):
        q, k, v = (self.blocks(x).permute(0, 4, 1, 2, 3, 5) for x in (q, k, v))
        z = q.unsqueeze(3) @ k.unsqueeze(2).transpose(-1, -2) * self.scale  # [B, H, A, F, K, J, L]
        log_r = F.log_softmax(z, -1)
        r = log_r.exp()
        c_l = (r * log_r).sum(-1)
        a_l, y = ((r @ x.unsqueeze(2)).permute(0, 1, 2, 5, 3, 4, 6).flatten(4, 5) for x in (k, v))  # [B, H, A, J, F K, D]
        w = q.transpose(3, 4) @ a_l.transpose(-1, -2) * self.scale - c_l.permute(0, 1, 2, 5, 3, 4).flatten(4).unsqueeze(-2)
        return (torch.softmax(w, -1) @ y).permute(0, 2, 4, 3, 1, 5).flatten(1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--query-frames", type=int, default=3)
    parser.add_argument("--kv-frames", type=int, default=21)
    parser.add_argument("--grid", default="30x52", help="token rows x columns of a frame")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--backward", action="store_true", help="the gradients of q, k and v instead of the forward")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows, columns = (int(part) for part in args.grid.split("x"))
    q, k, v = (
        torch.randn(1, frames * rows * columns, args.heads, args.head_dim, requires_grad=args.backward)
        for frames in (args.query_frames, args.kv_frames, args.kv_frames)
    )
    grad = torch.randn_like(q)
    composed = Composed(rows, columns, args.head_dim**-0.5)
    attend = {
        "monarch": lambda: ma.monarch_attention(q, k, v, (rows, columns)),
        "composed, tokens first": lambda: composed.tokens_first(q, k, v),
        "composed, heads first": lambda: composed.heads_first(q, k, v),
        "composed, matmul": lambda: composed.matmul(q, k, v),
        "dense": lambda: F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2),
    }
    work = {}
    for name, forward in attend.items():
        out = forward()  # also warms up
        if name.startswith("composed"):
            error = (out - attend["monarch"]()).norm() / out.norm()
            assert error < 1e-5, f"{name} differs from monarch_attention by {error:.1e}"
        work[name] = (lambda out=out: torch.autograd.grad(out, (q, k, v), grad, retain_graph=True)) if args.backward else forward
    square = torch.randn(2048, 2048)
    work["product"] = lambda: square @ square

    seconds = {name: [] for name in work}
    with torch.set_grad_enabled(args.backward):
        for repeat in range(args.repeats + 1):
            for name, call in work.items():
                start = time.perf_counter()
                call()
                if repeat > 0:
                    seconds[name].append(time.perf_counter() - start)
    ours = statistics.median(seconds["monarch"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(json.dumps({
            "work": ("backward " if args.backward and name != "product" else "") + name,
            "seconds": round(median, 4), "least": round(min(times), 4), "most": round(max(times), 4),
            "times_monarch": round(median / ours, 2),
        }))


if __name__ == "__main__":
    main()
