"""The switch of Wan models, on a small one with random weights."""

import copy

import pytest
import torch

diffusers = pytest.importorskip("diffusers")

import monarch_attention as ma  # noqa: E402
import plain  # noqa: E402
from monarch_attention.diffusers import WanMonarchProcessor, set_attention  # noqa: E402

FRAMES, HEIGHT, WIDTH = 4, 8, 12  # of latents; 4 x 6 tokens a frame


@pytest.fixture
def model():
    torch.manual_seed(0)
    return diffusers.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
    ).eval()


def run(model, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, FRAMES, HEIGHT, WIDTH, generator=generator).to(dtype)
    context = torch.randn(2, 5, 16, generator=generator).to(dtype)
    with torch.no_grad():
        return model(latents, torch.tensor([500, 100]), context, return_dict=False)[0]


def distance(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


# Blocks of one column or one row are exact, so these are dense attention if, and only if, positions, token order and
# grid are those of the model.
@pytest.mark.parametrize("settings", [{"w_reduce": 6}, {"h_reduce": 4}, {"f_tied": 4, "w_reduce": 6}])
def test_exact_tilings_give_the_dense_result(model, settings):
    dense = run(model)
    set_attention(model, "monarchrt", **settings)
    ma.reset_attention_runs()
    assert distance(run(model), dense) < 1e-5
    assert [line for line in ma.attention_runs() if line.startswith("monarchrt forward: cpu-") and "2 times" in line]


@pytest.mark.parametrize(
    "preset, settings",
    [("monarchrt", {}), ("monarchrt", {"f_tied": 2, "h_reduce": 2, "num_iters": 2}), ("vmonarch", {}), ("vmonarch", {"split": "h,fw"})],
)
def test_result_is_that_of_the_plain_formula(model, preset, settings):
    dense = run(model)
    formula = {"monarchrt": plain.monarchrt, "vmonarch": plain.vmonarch}[preset]
    set_attention(model, preset, **settings)
    got = run(model)
    for block in model.blocks:
        block.attn1.processor.attend = lambda q, k, v, grid: formula(q, k, v, grid, **settings)
    assert distance(got, run(model)) < 1e-5
    assert distance(got, dense) > 1e-4  # it does approximate


def test_dense_puts_back_what_was_there(model):
    before = [block.attn1.processor for block in model.blocks]
    dense = run(model)
    set_attention(model, "monarchrt")
    set_attention(model, "vmonarch", num_iters=3)
    assert not torch.equal(run(model), dense)
    set_attention(model, "dense")
    assert [block.attn1.processor for block in model.blocks] == before
    assert torch.equal(run(model), dense)


def test_layers_that_are_not_chosen_stay_dense(model):
    dense = run(model)
    set_attention(model, "monarchrt", layers=[])
    assert torch.equal(run(model), dense)
    set_attention(model, "monarchrt", layers=[1])
    half = run(model)
    set_attention(model, "monarchrt")
    assert not torch.equal(half, dense) and not torch.equal(half, run(model))


def test_fused_projections_and_half_precision(model):
    set_attention(model, "monarchrt", h_reduce=2)
    want = run(model)
    low = copy.deepcopy(model).to(torch.bfloat16)
    assert distance(run(low, torch.bfloat16).float(), want) < 0.1
    for block in model.blocks:
        block.attn1.fuse_projections()
    assert distance(run(model), want) < 1e-5


def test_gradients_reach_the_weights(model):
    set_attention(model, "monarchrt", w_reduce=6)
    exact = copy.deepcopy(model)
    set_attention(model, "dense")
    grads = []
    for part in (exact, model):
        latents = torch.randn(1, 4, FRAMES, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
        context = torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(2))
        part(latents, torch.tensor([500]), context, return_dict=False)[0].square().sum().backward()
        grads.append(part.blocks[0].attn1.to_k.weight.grad)
    assert distance(*grads) < 1e-4


def test_compiles_without_graph_break(model):
    set_attention(model, "monarchrt", h_reduce=2)
    want = run(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert distance(run(compiled), want) < 1e-5


def test_pipelines_are_switched_too(model):
    pipeline = diffusers.WanPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=None,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        transformer=model,
        transformer_2=copy.deepcopy(model),
        boundary_ratio=0.5,
    )
    pipeline.set_progress_bar_config(disable=True)

    def latents():
        return pipeline(
            prompt_embeds=torch.randn(1, 5, 16, generator=torch.Generator().manual_seed(2)),
            height=8 * HEIGHT,
            width=8 * WIDTH,
            num_frames=13,
            num_inference_steps=2,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(3),
            output_type="latent",
        ).frames

    dense = latents()
    set_attention(pipeline, "monarchrt", w_reduce=6)
    for part in (pipeline.transformer, pipeline.transformer_2):
        assert all(isinstance(block.attn1.processor, WanMonarchProcessor) for block in part.blocks)
    assert distance(latents(), dense) < 1e-5
    for preset in ("monarchrt", "vmonarch"):
        set_attention(pipeline, preset)
        assert latents().isfinite().all() and not torch.equal(latents(), dense)
    set_attention(pipeline, "dense")
    assert torch.equal(latents(), dense)


def test_errors_say_what_is_wrong(model):
    with pytest.raises(ValueError, match="no preset 'sparse'; use one of dense, monarchrt, vmonarch"):
        set_attention(model, "sparse")
    with pytest.raises(TypeError, match="vmonarch has no setting h_reduce; it takes num_iters"):
        set_attention(model, "vmonarch", h_reduce=2)
    with pytest.raises(TypeError, match="found a Linear"):
        set_attention(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="no layer 2 in a model of 2 layers"):
        set_attention(model, "monarchrt", layers=[2])
    assert not isinstance(model.blocks[0].attn1.processor, WanMonarchProcessor)
    set_attention(model, "monarchrt", w_reduce=4)
    with pytest.raises(RuntimeError, match="w_reduce 4; use 1, 2, 3 or 6"):
        run(model)
    processor = model.blocks[0].attn1.processor
    with pytest.raises(ValueError, match="install it with monarch_attention.diffusers.set_attention"):
        processor(model.blocks[0].attn1, torch.zeros(1, 24, 48), rotary_emb=(torch.ones(1), torch.ones(1)))
