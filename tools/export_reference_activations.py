#!/usr/bin/env python3
"""Writes reference activations of the Python original for `monarch verify DIR --activations FILE`.

    git clone https://github.com/Wan-Video/Wan2.1
    python3 tools/export_reference_activations.py --repo Wan2.1 --model Wan2.1-T2V-1.3B --output reference.safetensors
    monarch verify Wan2.1-T2V-1.3B --activations reference.safetensors

Needs torch, diffusers, transformers, einops, ftfy, regex, safetensors. Runs on the CPU in float32; the text
encoder stays in the type of its file and is widened layer by layer (12 GB of memory for UMT5-XXL).

The file holds, for each part: input.ids, input.mask -> expect.text (rows beyond the prompt zero);
input.x, input.t, input.context (input.y, input.clip_fea) -> expect.flow; input.latent -> expect.video and
input.video -> expect.latent (normalised latents, frames in [-1, 1] and not clamped).
"""
import argparse
import importlib
import inspect
import json
import pathlib
import sys
import types

import torch
from safetensors.torch import load_file, save_file

PROMPTS = ["a red circle moving right", "A cat walks on the grass, realistic style; 一只猫在草地上行走"]


def import_wan(repo: pathlib.Path, module: str):
    """wan.modules.<module> without the packages' own imports, which pull in every pipeline."""
    for name, path in (("wan", repo / "wan"), ("wan.modules", repo / "wan" / "modules")):
        if not path.is_dir():
            sys.exit(f"{path} is not there; --repo must be a checkout with the package 'wan' (Wan2.1 or a descendant)")
        if name not in sys.modules:
            package = types.ModuleType(name)
            package.__path__ = [str(path)]
            sys.modules[name] = package
    if not torch.cuda.is_available():
        torch.cuda.current_device = lambda: "cpu"  # the default of an argument there
    return importlib.import_module(f"wan.modules.{module}")


def exact_attention(q, k, v, q_lens=None, k_lens=None, softmax_scale=None, **_):
    """Stands in for flash attention: [B, N, H, D], float32, keys beyond k_lens hidden."""
    mask = None
    if k_lens is not None:
        seen = torch.arange(k.size(1))[None] < torch.as_tensor(k_lens)[:, None]
        mask = seen[:, None, None]
    heads_first = [t.transpose(1, 2).float() for t in (q, k, v)]
    out = torch.nn.functional.scaled_dot_product_attention(*heads_first, attn_mask=mask, scale=softmax_scale)
    return out.transpose(1, 2).contiguous()


def find_weights(folder: pathlib.Path, stem: str) -> dict[str, torch.Tensor]:
    files = sorted(folder.glob(f"{stem}*.safetensors"))
    if files:
        return {name: t for file in files for name, t in load_file(file).items()}
    files = sorted(folder.glob(f"{stem}*.pth"))
    if not files:
        sys.exit(f"{folder} has no {stem}*.safetensors or .pth")
    return torch.load(files[0], map_location="cpu", weights_only=True, mmap=True)


def read_json(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def accepted(function, options: dict) -> dict:
    names = inspect.signature(function).parameters
    return {key: value for key, value in options.items() if key in names}


def widen_while_used(block: torch.nn.Module, stored: torch.dtype) -> None:
    block.register_forward_pre_hook(lambda module, _: module.float() and None)
    block.register_forward_hook(lambda module, *_: module.to(stored) and None)


def text(repo, folder, out, text_len):
    t5 = import_wan(repo, "t5")
    tokenizers = import_wan(repo, "tokenizers")
    weights = find_weights(folder, "models_t5_umt5-")
    stored = weights["token_embedding.weight"].dtype
    config = read_json(folder / "text_encoder_config.json")
    seq_len = config.pop("seq_len", None) or text_len
    if "num_layers" in config:
        config["encoder_layers"] = config.pop("num_layers")
    config = {k: v for k, v in config.items() if k not in ("max_dist", "eps")}
    model = t5.umt5_xxl(encoder_only=True, return_tokenizer=False, dtype=stored, device="meta", **config)
    model.load_state_dict(weights, assign=True)
    model.eval().requires_grad_(False)
    model.token_embedding.register_forward_hook(lambda module, args, output: output.float())
    for block in model.blocks:
        widen_while_used(block, stored)
    model.norm.float()
    if getattr(model, "pos_embedding", None) is not None:
        model.pos_embedding.float()

    tokenizer_folder = next(iter(sorted((folder / "google").glob("umt5-*"))), None)
    if tokenizer_folder is None:
        sys.exit(f"{folder} has no google/umt5-*")
    tokenizer = tokenizers.HuggingfaceTokenizer(name=str(tokenizer_folder), seq_len=seq_len, clean="whitespace")
    ids, mask = tokenizer(PROMPTS, return_mask=True, add_special_tokens=True)
    hidden = model(ids, mask)
    out["input.ids"], out["input.mask"] = ids.long(), mask.long()
    out["expect.text"] = (hidden * mask[..., None]).float()


def transformer(repo, folder, out, generator):
    modules = import_wan(repo, "model")
    modules.flash_attention = exact_attention
    config = read_json(folder / "config.json")
    model = modules.WanModel(**accepted(modules.WanModel.__init__, config))
    model.load_state_dict(find_weights(folder, "diffusion_pytorch_model"))
    model.float().eval().requires_grad_(False)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    pt, ph, pw = model.patch_size
    frames, height, width = 3 * pt, 4 * ph, 6 * pw
    x = draw(2, config["out_dim"], frames, height, width)
    t = torch.tensor([937.5, 250.0])
    # The text of the encoder where it was exported too: activations of its size, not of noise.
    context = out["expect.text"] if "expect.text" in out else draw(2, 24, model.text_dim)
    extra = {}
    if config.get("model_type") == "i2v":
        extra["y"] = draw(2, config["in_dim"] - config["out_dim"], frames, height, width)
        extra["clip_fea"] = draw(2, 257, 1280)
    tokens = frames // pt * (height // ph) * (width // pw)
    lists = {key: list(value) if key == "y" else value for key, value in extra.items()}
    flow = model(list(x), t, [row for row in context], tokens, **lists)
    out["input.x"], out["input.t"], out["input.context"] = x, t, context.contiguous()
    out.update({f"input.{key}": value for key, value in extra.items()})
    out["expect.flow"] = torch.stack(flow)


def vae(repo, folder, out, generator):
    modules = import_wan(repo, "vae")
    config = read_json(folder / "vae_config.json")
    mean, std = config.pop("latent_mean", None), config.pop("latent_std", None)
    sizes = dict(dim=96, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
                 temperal_downsample=[False, True, True], dropout=0.0)
    sizes.update(config)
    model = modules.WanVAE_(**sizes)
    model.load_state_dict(find_weights(folder, "Wan2.1_VAE"))
    model.float().eval().requires_grad_(False)
    if not mean:
        source = inspect.getsource(modules.WanVAE.__init__)
        lists = [json.loads(part[: part.index("]") + 1]) for part in source.replace("\n", " ").split("= ")
                 if part.startswith("[ ")]
        mean, std = lists[0], lists[1]
    scale = [torch.tensor(mean), 1.0 / torch.tensor(std)]
    z_dim = sizes["z_dim"]
    factor = 2 ** (len(sizes["dim_mult"]) - 1)
    frames = 1 + 2 * 2 ** sum(sizes["temperal_downsample"])
    latent = torch.randn(1, z_dim, 3, 6, 8, generator=generator)
    video = torch.rand(1, 3, frames, 6 * factor, 8 * factor, generator=generator) * 2 - 1
    out["input.latent"], out["expect.video"] = latent, model.decode(latent, scale).float()
    out["input.video"], out["expect.latent"] = video, model.encode(video, scale).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repo", type=pathlib.Path, required=True, help="checkout of the original")
    parser.add_argument("--model", type=pathlib.Path, required=True, help="downloaded model folder")
    parser.add_argument("--output", type=pathlib.Path, required=True, help=".safetensors to write")
    parser.add_argument("--parts", default="text,transformer,vae", help="any of text,transformer,vae")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(arguments.seed)
    parts = arguments.parts.split(",")
    out = {}
    with torch.no_grad():
        if "text" in parts:
            text_len = read_json(arguments.model / "config.json").get("text_len", 512)
            text(arguments.repo, arguments.model, out, text_len)
        if "transformer" in parts:
            transformer(arguments.repo, arguments.model, out, generator)
        if "vae" in parts:
            vae(arguments.repo, arguments.model, out, generator)
    save_file({name: tensor.contiguous() for name, tensor in out.items()}, arguments.output)
    print(f"{arguments.output}: {', '.join(sorted(name for name in out if name.startswith('expect.')))}")


if __name__ == "__main__":
    main()
