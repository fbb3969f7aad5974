#!/usr/bin/env python3
"""Times diffusers' AutoencoderKLWan with random weights: the peer of `monarch bench vae`.

    python vae.py --work decode --width 96 --frames 9 --height 240 --width-pixels 416 --threads 2

Prints one line of JSON. Counts as work the convolutions and matrix products as diffusers runs them.
"""
import argparse
import json

import torch
from diffusers import AutoencoderKLWan

from timing import common_options, timed


def count_flops(model: torch.nn.Module, action) -> float:
    """Floating-point operations of every convolution and linear layer that `action` runs."""
    total = 0.0

    def add(module, _inputs, output):
        nonlocal total
        total += 2.0 * output.numel() * module.weight[0].numel()

    layers = (torch.nn.Conv3d, torch.nn.Conv2d, torch.nn.Linear)
    hooks = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, layers)]
    action()
    for hook in hooks:
        hook.remove()
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=["decode", "encode", "train"], default="decode")
    parser.add_argument("--width", type=int, default=96, help="channels of the first stage")
    parser.add_argument("--frames", type=int, default=9, help="pixel frames, 1 + 4n")
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width-pixels", type=int, default=416)
    common_options(parser, repeats=3)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    vae = AutoencoderKLWan(base_dim=args.width).to(args.device, dtype).eval()
    video = torch.rand(1, 3, args.frames, args.height, args.width_pixels) * 2 - 1
    latent = torch.randn(1, 16, 1 + (args.frames - 1) // 4, args.height // 8, args.width_pixels // 8)
    video, latent = video.to(args.device, dtype), latent.to(args.device, dtype)

    def run() -> None:
        if args.work == "train":
            vae.decode(latent).sample.sum().backward()
        else:
            with torch.no_grad():
                vae.decode(latent) if args.work == "decode" else vae.encode(video)

    gflop = count_flops(vae, run) / 1e9 * (3 if args.work == "train" else 1)
    print(json.dumps({
        "work": f"vae_{args.work}", "implementation": "diffusers",
        "shape": {"width": args.width, "frames": args.frames, "height": args.height, "width_pixels": args.width_pixels},
        "dtype": args.dtype, "threads": args.threads,
        **timed(run, args.repeats, args.device, gflop)}))


if __name__ == "__main__":
    main()
