"""Values, gradients, registration, tracing and errors of the operators."""

import subprocess
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import monarch_attention as ma
import plain

GRID = (4, 6)
FRAMES = 4
TILINGS = [
    {},
    {"f_tied": 2},
    {"h_reduce": 2},
    {"w_reduce": 3},
    {"f_tied": 2, "h_reduce": 2, "w_reduce": 2},
    {"h_reduce": 2, "num_iters": 2},
    {"f_tied": 2, "w_reduce": 2, "num_iters": 3},
]
VMONARCH = [
    {},
    {"num_iters": 1},
    {"recompute_first_frame": False, "c_r_min": 0.5},
    {"frames_per_factor": 2},
    {"split": "h,fw"},
    {"split": "hw,f", "num_iters": 3},
    {"split": "fw,h"},
    {"split": "w,fh"},
    {"split": "fh,w"},
]


def operands(frames=FRAMES, grid=GRID, batch=2, heads=3, dim=16, dtype=torch.float32, kv_frames=None, grad=False):
    generator = torch.Generator().manual_seed(0)
    tokens = grid[0] * grid[1]
    return [
        torch.randn(batch, n * tokens, heads, dim, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(grad)
        for n in (frames, kv_frames or frames, kv_frames or frames)
    ]


def case(preset, settings):
    """The operator and the plain formula, both of q, k and v."""
    if preset == "dense":
        return lambda q, k, v: ma.dense_attention(q, k, v, **settings), lambda q, k, v: plain.dense(q, k, v, **settings)
    ours, formula = {
        "monarchrt": (ma.monarch_attention, plain.monarchrt),
        "vmonarch": (ma.vmonarch_attention, plain.vmonarch),
    }[preset]
    return lambda q, k, v: ours(q, k, v, GRID, **settings), lambda q, k, v: formula(q, k, v, GRID, **settings)


CASES = (
    [("dense", {}), ("dense", {"block_causal_size": 24})]
    + [("monarchrt", settings) for settings in TILINGS]
    + [("vmonarch", settings) for settings in VMONARCH]
)
NAMES = [f"{preset} {settings}" for preset, settings in CASES]


def assert_near(got, want, dtype):
    """Relative to the largest value: float32 sums of a few hundred terms; 8 bits of a bfloat16, twice rounded."""
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2e-2}[dtype]
    worst = (got.double() - want.double()).abs().max() / want.double().abs().max()
    assert worst < tolerance, f"off by {worst:.2e} of the largest value"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("preset, settings", CASES, ids=NAMES)
def test_values(preset, settings, dtype):
    ours, formula = case(preset, settings)
    q, k, v = operands(dtype=dtype)
    got = ours(q, k, v)
    assert got.dtype == dtype and got.shape == q.shape
    assert_near(got, formula(q.double(), k.double(), v.double()), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("preset, settings", CASES, ids=NAMES)
def test_gradients(preset, settings, dtype):
    ours, formula = case(preset, settings)
    tensors = operands(dtype=dtype, grad=True)
    doubles = [t.detach().double().requires_grad_() for t in tensors]
    weight = torch.randn(tensors[0].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(ours(*tensors), tensors, weight.to(dtype))
    want = torch.autograd.grad(formula(*doubles), doubles, weight)
    for name, ours_, theirs in zip("qkv", got, want):
        worst = (ours_.double() - theirs).abs().max() / theirs.abs().max()
        assert worst < (1e-4 if dtype == torch.float32 else 1e-11), f"gradient of {name} off by {worst:.2e} of its largest"


# Of vmonarch the gradient is not that of its value: the entropy counts as a constant (test_gradients).
@pytest.mark.parametrize("settings", [None, {}, {"f_tied": 2, "h_reduce": 2}, {"num_iters": 2}, {"block_causal_size": 4}])
def test_gradcheck(settings):
    q, k, v = operands(frames=2, grid=(2, 2), batch=1, heads=1, dim=3, dtype=torch.float64, grad=True)
    attend = ma.dense_attention if settings is None else lambda *t: ma.monarch_attention(*t, (2, 2), **settings)
    assert torch.autograd.gradcheck(attend, (q, k, v))


def test_softmax_scale():
    q, k, v = operands()
    assert_near(ma.dense_attention(q, k, v, softmax_scale=0.5), plain.dense(q, k, v, scale=0.5), torch.float32)
    got = ma.monarch_attention(q, k, v, GRID, h_reduce=2, softmax_scale=0.5)
    assert_near(got, plain.monarchrt(q, k, v, GRID, h_reduce=2, scale=0.5), torch.float32)


def test_kernels_run_and_are_counted():
    ma.reset_attention_runs()
    tensors = operands(grad=True)
    ma.monarch_attention(*tensors, GRID).sum().backward()
    runs = ma.attention_runs()
    assert [line.split(":")[0] for line in runs] == ["monarchrt backward", "monarchrt forward"]
    assert all("cpu-" in line and "1 time" in line for line in runs)
    ma.reset_attention_runs()
    ma.monarch_attention(*operands(dtype=torch.float64), GRID)
    assert "composed" in ma.attention_runs()[0]


@pytest.mark.parametrize("tiling", TILINGS[:5])
def test_cache_gives_what_all_tokens_give(tiling):
    frame = GRID[0] * GRID[1]
    q, k, v = operands(frames=2, kv_frames=6)
    cache = ma.KVCache(2, 8, GRID, 3, 16, **tiling)
    for begin in (0, 2, 4):
        tokens = slice(begin * frame, (begin + 2) * frame)
        cache.write(k[:, tokens], v[:, tokens], begin)
    got = cache.attend(q, frames=6)
    assert torch.equal(got, ma.monarch_attention(q, k, v, GRID, **tiling))
    assert not cache.k[:, 6 * frame :].any()


def test_cache_refuses_frames_it_does_not_have():
    _, k, v = operands(frames=2)
    cache = ma.KVCache(2, 4, GRID, 3, 16, f_tied=2)
    for frame in (-2, 1, 4):
        with pytest.raises(ValueError, match="cannot be written to a cache of 4 frames"):
            cache.write(k, v, frame)
    with pytest.raises(ValueError, match="give 1 to 4"):
        cache.attend(k, frames=5)
    with pytest.raises(RuntimeError, match="f_tied"):
        ma.KVCache(2, 3, GRID, 3, 16, f_tied=2)


def test_gradients_through_new_keys_in_block_order():
    q, k, v = operands(grad=True)
    tiling = {"f_tied": 2, "h_reduce": 2, "w_reduce": 3}
    blocks = [ma.to_block_order(t, GRID, **tiling) for t in (k, v)]
    assert torch.equal(ma.from_block_order(blocks[0], GRID, **tiling), k)
    assert not torch.equal(blocks[0], k)
    got = torch.autograd.grad(ma.monarch_attention(q, *blocks, GRID, kv_block_order=True, **tiling).square().sum(), (q, k, v))
    want = torch.autograd.grad(ma.monarch_attention(q, k, v, GRID, **tiling).square().sum(), (q, k, v))
    for ours, theirs in zip(got, want):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    "op, extra",
    [
        ("dense_attention", ()),
        ("monarchrt_attention", (*GRID, 2, 2, 1, 2)),
        ("vmonarch_attention", GRID),
        ("to_block_order", (*GRID, 2, 2, 1)),
    ],
)
def test_opcheck(op, extra, grad):
    tensors = operands(batch=1, heads=2, grad=grad)
    if op == "to_block_order":
        tensors = tensors[:1]
    torch.library.opcheck(getattr(torch.ops.monarch, op).default, (*tensors, *extra))


def test_opcheck_of_the_kernels():
    tensors = operands(batch=1, heads=2)
    torch.library.opcheck(torch.ops.monarch.attention_forward.default, (*tensors, "dense", [0, 0], [0.25], True))


# In float64 the composition is traced, which takes long: one of each preset.
@pytest.mark.parametrize(
    "preset, settings, dtype",
    [(*c, torch.float32) for c in CASES]
    + [
        ("dense", {"block_causal_size": 24}, torch.float64),
        ("monarchrt", TILINGS[4], torch.float64),
        ("vmonarch", {"split": "h,fw"}, torch.float64),
    ],
)
def test_compile_traces_without_graph_break(preset, settings, dtype):
    ours, _ = case(preset, settings)

    def layer(x, w):
        q, k, v = (x @ w).unflatten(-1, (3, 3, 16)).unbind(2)
        return ours(q, k, v).flatten(2).sin()

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(8, 144, generator=generator, dtype=dtype)
    for batch in (1, 2):  # the second size is traced with symbols
        x = torch.randn(batch, FRAMES * GRID[0] * GRID[1], 8, generator=generator, dtype=dtype)
        leaves = [x.requires_grad_(), w.requires_grad_()]
        got, want = compiled(x, w), layer(x, w)
        assert_near(got, want, dtype)
        for ours_, theirs in zip(torch.autograd.grad(got.sum(), leaves), torch.autograd.grad(want.sum(), leaves)):
            assert_near(ours_, theirs, dtype)
        with torch.no_grad():
            assert_near(compiled(x, w), want, dtype)


def test_compile_with_inductor():
    def layer(x, w):
        q, k, v = (x @ w).unflatten(-1, (3, 2, 16)).unbind(2)
        return ma.monarch_attention(q, k, v, GRID, h_reduce=2).flatten(2).relu()

    torch._dynamo.reset()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 48, 8, generator=generator).requires_grad_()
    w = torch.randn(8, 96, generator=generator).requires_grad_()
    got, want = torch.compile(layer, fullgraph=True)(x, w), layer(x, w)
    assert_near(got, want, torch.float32)
    for ours, theirs in zip(torch.autograd.grad(got.sum(), (x, w)), torch.autograd.grad(want.sum(), (x, w))):
        assert_near(ours, theirs, torch.float32)


def test_fake_tensors_have_the_shapes_and_types():
    with FakeTensorMode() as mode:
        q, k, v = (mode.from_tensor(t) for t in operands(dtype=torch.bfloat16, kv_frames=8))
        got = ma.monarch_attention(q, k, v, GRID, f_tied=2)
    assert (got.shape, got.dtype, got.device.type) == (q.shape, torch.bfloat16, "cpu")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda q, k, v: ma.monarch_attention(q, k, v, GRID, w_reduce=4), "w_reduce 4; use 1, 2, 3 or 6"),
        (lambda q, k, v: ma.monarch_attention(q, k, v, (5, 6)), r"needs \[batch, frames \* 5 \* 6"),
        (lambda q, k, v: ma.monarch_attention(q, k, v, GRID, num_iters=0), "num_iters must be at least 1, but is 0"),
        (lambda q, k, v: ma.vmonarch_attention(q, k, v, GRID, split="w,hf"), "w,hf"),
        (lambda q, k, v: ma.dense_attention(q, k[:, :, :2], v[:, :, :2]), "differ in batch, heads or head_dim"),
        (lambda q, k, v: ma.dense_attention(q, k.double(), v.double()), "of one type"),
        (lambda q, k, v: ma.dense_attention(q, k, v, block_causal_size=-1), "block_causal_size must be at least 1"),
    ],
)
def test_errors_say_what_is_wrong(call, message):
    with pytest.raises(RuntimeError, match=message):
        call(*operands())


def test_library_links_torch_without_python():
    library = Path(ma.__file__).with_name("libmonarch_operators.so")
    needed = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
    assert "libtorch_cpu.so" in needed
    for absent in ("libtorch_python", "libpython", "RPATH", "RUNPATH"):
        assert absent not in needed
