#!/usr/bin/env python3
"""Times Monarch attention composed of PyTorch's operators, and this project's operator, in one Python process.

    python attention.py --threads 2 --repeats 9
    python attention.py --device cuda --dtype bfloat16 --heads 12 --upstream MonarchRT

One iteration of arXiv 2602.12271 at tiling (1, 1, 1) as one writes it down in Python three ways: einsum on tokens as they
lie, einsum on heads in front, batched matmul. Beside them scaled_dot_product_attention on the dense problem, a matrix product
(2048³, on a GPU 8192³), and `monarch_attention` (pip install ./python; docs/python.md says how to have the kernels of a GPU). On a
GPU also dense attention by PyTorch's flash and cuDNN backends, FlashAttention-3 if `flash_attn_interface` can be imported, and with
--upstream the authors' Triton kernels (github.com/Infini-AI-Lab/MonarchRT; needs einops). What cannot be had is named, with the
reason. All take turns; gradients with --backward. Prints one line of JSON each, and what `monarch_attention` ran on.
"""
import argparse
import importlib
import importlib.util
import json
import pathlib
import sys
from typing import Callable

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import monarch_attention as ma
from timing import common_options, timed_in_turns

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


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


def dense(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


def dense_by(backend: SDPBackend) -> Attend:
    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        with sdpa_kernel(backend):
            return dense(q, k, v)

    return attend


def flash_attention_3() -> Attend:
    function = importlib.import_module("flash_attn_interface").flash_attn_func

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        out = function(q, k, v)
        return out[0] if isinstance(out, tuple) else out  # earlier versions return the log-sum-exp, too

    return attend


def upstream(folder: pathlib.Path, rows: int, columns: int) -> Attend:
    """From the file: the package around it imports a whole system."""
    spec = importlib.util.spec_from_file_location("monarchrt_upstream", folder / "wan" / "modules" / "monarch_attn.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda q, k, v: module.monarch_attn(q, k, v, 1, 1, 1, rows, columns)


def contenders(args: argparse.Namespace, rows: int, columns: int) -> dict[str, Callable[[], Attend]]:
    """How to get each; may throw, and so may the first call of what is got."""
    composed = Composed(rows, columns, args.head_dim**-0.5)
    result = {
        "monarch": lambda: lambda q, k, v: ma.monarch_attention(q, k, v, (rows, columns)),
        "composed, tokens first": lambda: composed.tokens_first,
        "composed, heads first": lambda: composed.heads_first,
        "composed, matmul": lambda: composed.matmul,
        "dense": lambda: dense,
    }
    if args.upstream:
        result["upstream"] = lambda: upstream(args.upstream, rows, columns)
    if args.device != "cpu":
        result["dense, flash"] = lambda: dense_by(SDPBackend.FLASH_ATTENTION)
        result["dense, cudnn"] = lambda: dense_by(SDPBackend.CUDNN_ATTENTION)
        result["dense, flash-attention-3"] = flash_attention_3
    return result


def check(name: str, out: torch.Tensor, ours: torch.Tensor) -> None:
    """Against `monarch_attention`; the compositions round every intermediate to the operands' type."""
    bound = 1e-5 if out.dtype == torch.float32 else 0.1
    error = ((out - ours).float().norm() / ours.float().norm()).item()
    assert error < bound, f"{name} differs from monarch_attention by {error:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--query-frames", type=int, default=3)
    parser.add_argument("--kv-frames", type=int, default=21)
    parser.add_argument("--grid", default="30x52", help="token rows x columns of a frame")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--backward", action="store_true", help="the gradients of q, k and v instead of the forward")
    parser.add_argument("--upstream", type=pathlib.Path, help="a checkout of the authors' repository (GPU)")
    common_options(parser, repeats=9)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rows, columns = (int(part) for part in args.grid.split("x"))
    place = {"device": args.device, "dtype": getattr(torch, args.dtype)}
    q, k, v = (
        torch.randn(1, frames * rows * columns, args.heads, args.head_dim, **place, requires_grad=args.backward)
        for frames in (args.query_frames, args.kv_frames, args.kv_frames)
    )
    grad = torch.randn_like(q)
    ours = ma.monarch_attention(q, k, v, (rows, columns)).detach()
    work = {}
    for name, get in contenders(args, rows, columns).items():
        try:
            attend = get()
            out = attend(q, k, v)
            if args.backward:
                work[name] = lambda out=out: torch.autograd.grad(out, (q, k, v), grad, retain_graph=True)
                work[name]()
            else:
                work[name] = lambda attend=attend: attend(q, k, v)
        except Exception as error:  # what others' kernels throw is theirs to choose
            print(json.dumps({"left_out": name, "why": f"{type(error).__name__}: {error}".partition("\n")[0]}))
            work.pop(name, None)
            continue
        if not name.startswith("dense"):
            check(name, out.detach(), ours)
    side = 2048 if args.device == "cpu" else 8192
    square = torch.randn(side, side, **place)
    work["product"] = lambda: square @ square

    with torch.set_grad_enabled(args.backward):
        results = timed_in_turns(work, args.repeats, args.device)
    for name, result in results.items():
        print(json.dumps({
            "work": ("backward " if args.backward and name != "product" else "") + name,
            "dtype": args.dtype, "threads": args.threads, **result,
            "times_monarch": round(result["seconds_median"] / results["monarch"]["seconds_median"], 2),
        }))
    print(json.dumps({"attention_runs": ma.attention_runs()}))


if __name__ == "__main__":
    main()
