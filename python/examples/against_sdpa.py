"""Error and speed of Monarch attention against torch's scaled_dot_product_attention.

    python python/examples/against_sdpa.py --frames 21 --grid 30x52 --heads 2

Scores of the made-up operands depend on how far apart two tokens lie in the video, plus noise, as those of video models
do roughly; the error on a model's own operands is another. Prints, for each setting, the largest and the mean error
relative to the exact result's mean size, the best time of several runs, and how many times as fast that is.
"""

import argparse
import math
import time

import torch
import torch.nn.functional as F

import monarch_attention as ma


def made_up(frames: int, grid: tuple[int, int], heads: int, dim: int, noise: float) -> list[torch.Tensor]:
    """q, k, v [1, N, H, D]: waves over the video's three axes, which q and k share, and noise."""
    generator = torch.Generator().manual_seed(0)
    axes = [torch.linspace(0, 1, n) for n in (frames, *grid)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, 3)  # [N, 3]

    def waves(count: int) -> torch.Tensor:
        frequencies = 4 * math.pi * torch.randn(3, heads * count // 2, generator=generator)
        angles = (place @ frequencies).unflatten(-1, (heads, count // 2))
        return torch.cat((angles.cos(), angles.sin()), dim=-1)

    shared = waves(dim)
    q, k = (1.5 * shared + noise * torch.randn(shared.shape, generator=generator) for _ in range(2))
    v = waves(dim) + noise * torch.randn(shared.shape, generator=generator)
    return [t[None].contiguous() for t in (q, k, v)]


def best_time(call, repeats: int) -> float:
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--grid", default="30x52", help="rows x columns of a frame, in tokens")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--head-dim", type=int, default=128)
    parser.add_argument("--noise", type=float, default=0.3)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    grid = tuple(int(part) for part in args.grid.split("x"))
    q, k, v = (t.to(getattr(torch, args.dtype)) for t in made_up(args.frames, grid, args.heads, args.head_dim, args.noise))

    def sdpa():
        return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)).transpose(1, 2)

    settings = {
        "dense": lambda: ma.dense_attention(q, k, v),
        "monarchrt": lambda: ma.monarch_attention(q, k, v, grid),
        "monarchrt, 2 iterations": lambda: ma.monarch_attention(q, k, v, grid, num_iters=2),
        "vmonarch": lambda: ma.vmonarch_attention(q, k, v, grid),
    }
    if grid[0] % 2 == 0:
        settings["monarchrt, h_reduce 2"] = lambda: ma.monarch_attention(q, k, v, grid, h_reduce=2)
    if grid[1] % 2 == 0:
        settings["monarchrt, w_reduce 2"] = lambda: ma.monarch_attention(q, k, v, grid, w_reduce=2)

    with torch.no_grad():
        exact = sdpa()
        slow = best_time(sdpa, args.repeats)
        print(f"{args.frames} frames of {args.grid}, {args.heads} heads of {args.head_dim}, {args.dtype}, {args.threads} threads")
        print(f"{'':26}{'max error':>12}{'mean error':>12}{'ms':>10}{'faster':>9}")
        print(f"{'torch sdpa':26}{'':12}{'':12}{1e3 * slow:10.1f}{1:8.2f}x")
        for name, call in settings.items():
            error = (call() - exact).abs().float() / exact.abs().float().mean()
            fast = best_time(call, args.repeats)
            print(f"{name:26}{error.max():12.2e}{error.mean():12.2e}{1e3 * fast:10.1f}{slow / fast:8.2f}x")
    print("\n".join(ma.attention_runs()))


if __name__ == "__main__":
    main()
