"""The pass before attention."""

import pytest
import torch

import monarch_attention as ma
import plain

PARTS = [(True, True), (True, False), (False, True)]  # weight, rope
NAMES = ["norm and rotation", "norm", "rotation"]


def operands(parts, batch=2, tokens=10, heads=3, dim=8, dtype=torch.float32, grad=False):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, tokens, heads, dim, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.rand(heads * dim, generator=generator, dtype=torch.float64).add(0.5).to(dtype)
    angles = torch.randn(tokens, dim // 2, generator=generator, dtype=torch.float64)
    rope = torch.polar(torch.ones_like(angles), angles).to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return (
        x.requires_grad_(grad),
        weight.requires_grad_(grad) if parts[0] else None,
        rope if parts[1] else None,
    )


def wide(x, weight, rope):
    return x.double(), None if weight is None else weight.double(), None if rope is None else rope.to(torch.complex128)


def distance(a, b):
    return ((a.double() - b.double()).abs().max() / b.double().abs().max()).item()


@pytest.mark.parametrize("parts", PARTS, ids=NAMES)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float64, 1e-12)])
def test_values(parts, dtype, tolerance):
    tensors = operands(parts, dtype=dtype)
    got = ma.norm_rope(*tensors)
    assert got.dtype == dtype
    assert distance(got, plain.norm_rope(*wide(*tensors))) < tolerance


@pytest.mark.parametrize("parts", PARTS, ids=NAMES)
def test_gradients(parts):
    tensors = operands(parts, grad=True)
    leaves = [t for t in tensors[:2] if t is not None]
    want = torch.autograd.grad(plain.norm_rope(*wide(*tensors)).square().sum(), leaves)
    ma.reset_attention_runs()
    got = torch.autograd.grad(ma.norm_rope(*tensors).square().sum(), leaves)
    assert [line.split(":")[0] for line in ma.attention_runs()] == ["norm-rope backward", "norm-rope forward"]
    assert all(distance(a, b) < 1e-5 for a, b in zip(got, want))


@pytest.mark.parametrize("parts", PARTS, ids=NAMES)
def test_gradcheck(parts):
    x, weight, rope = operands(parts, batch=1, tokens=3, heads=2, dim=4, dtype=torch.float64, grad=True)
    assert torch.autograd.gradcheck(lambda x, weight: ma.norm_rope(x, weight, rope), (x, weight))


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("parts", PARTS, ids=NAMES)
def test_opcheck(parts, grad):
    torch.library.opcheck(torch.ops.monarch.norm_rope.default, operands(parts, grad=grad))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compile_traces_without_graph_break(dtype):
    def layer(x, weight, rope):
        return ma.norm_rope(x.sin(), weight, rope).cos()

    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for batch in (1, 2):  # the second size is traced with symbols
        x, weight, rope = operands((True, True), batch=batch, dtype=dtype, grad=True)
        got, want = compiled(x, weight, rope), layer(x, weight, rope)
        assert distance(got, want) < 1e-6
        for a, b in zip(torch.autograd.grad(got.sum(), (x, weight)), torch.autograd.grad(want.sum(), (x, weight))):
            assert distance(a, b) < 1e-6


def test_errors_say_what_is_wrong():
    x, weight, rope = operands((True, True))
    with pytest.raises(RuntimeError, match="needs a weight of 24 channels"):
        ma.norm_rope(x, weight[:5])
    with pytest.raises(RuntimeError, match=r"complex rope of shape \[10, 4\]"):
        ma.norm_rope(x, weight, rope[:, :2])
    with pytest.raises(RuntimeError, match="needs floating x of shape"):
        ma.norm_rope(x[0])
