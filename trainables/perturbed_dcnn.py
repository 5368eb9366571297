"""Deep convolutional network trained to zero error, perturbed layer by layer and trained again by gradient descent.

Liao, Poggio 2017, Theory II: landscape of the empirical risk in deep learning, arXiv 1703.09833.

    (1)  h_l = s(norm(h_{l-1} * W_l + b_l))       3x3 convolutions of stride 2, then one dense layer; h_0 the image
    (2)  norm(z) = (z - mean z) / sqrt(var z + 1e-5)     over the batch and all positions; no shift, no scale
    (3)  f(x) = W_L h_{L-1} + b_L                 ten outputs; no pooling
    (4)  L = mean over images of -log softmax(f(x))_y
    (5)  W <- W - eta grad L                      mini-batches, until the error is 0 and L <= `tolerance`: the solution
    (6)  W_l <- W_l + c mean|W_l| N(0, 1)         every layer l, all its entries: the perturbation
    (7)  W <- W - eta grad L                      full batch, `retrain_steps` steps: the retrained copy
    (8)  null dimension = P - rank J,             J = df/dW, 10 n equations in P unknowns, at the solution's copy
                      >= P - 10 n             (linear algebra at a point; Bezout for the set of solutions)

Channels m, 2m (and 2m again for 32 x 32 images), dense width 4m. With m = 32 on CIFAR-10 P = 188,810, the paper's
number [recalled; the layer list is inferred from it]. The activation s is a ReLU, or the polynomial nearest to it in
mean square under N(0, 1) among those of degree 2: 1/sqrt(2 pi) + z/2 + (z^2 - 1)/(2 sqrt(2 pi)).

Differences from the paper: few images (n), of scikit-learn's digits or CIFAR-10; the error is always taken with the
batch statistics of all n; the polynomial has degree 2 (the paper's is higher [recalled]); biases are entries of their
layer's matrix. `branch_from` "fresh" is the control, a copy in another basin; the direction in (6) is that of every c.

Stages: train (5), perturb (6) in one step, retrain (7), done. `sketch`, for multidimensional scaling: a linear image of
each layer's weights; inner products are unbiased, a layer's cosine to within about sqrt(2 / `sketch_size`).
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from trainables import _images, _sketch, axis, claim, generator, key, uniform

VERSION = "1"
SHAPE = ("m", "n", "data", "activation", "jacobian_images", "sketch_size", "dtype")
TRAIN, PERTURB, RETRAIN, DONE = range(4)


@dataclass(frozen=True)
class Cell:
    m: int = axis("width, channels of the first convolution", "channels", 8, positive=True)
    n: int = axis("training images", "images", 64, positive=True)
    noise: float = axis("perturbation c, in units of the mean |W| of each layer, eq. (6)", "mean|W|", 0.01)
    branch: int = axis("which perturbation, or which fresh start, of the same solution", "1", 1)
    branch_from: Literal["solution", "fresh"] = axis("the perturbed solution, or new initial weights", "1", "solution")
    activation: Literal["relu", "polynomial"] = axis("activation s", "1", "relu")
    init_scale: float = axis(
        "standard deviation of initial weights over sqrt(2 / inputs)", "1", 1.0, positive=True, knob=True
    )
    step_size: float = axis("step size eta", "1", 0.2, positive=True, knob=True)
    batch: int = axis("mini-batch of the first training", "images", 32, positive=True)
    tolerance: float = axis("the solution has error 0 and at most this loss", "nats", 0.05, positive=True)
    max_steps: int = axis("cap on the steps to the solution", "steps", 400, positive=True)
    retrain_steps: int = axis("full-batch steps after the perturbation", "steps", 200, positive=True)
    jacobian_images: int = axis("images whose outputs enter J, eq. (8); at most n, 0: no J", "images", 1)
    sketch_size: int = axis("numbers per layer in the sketch of the weights", "1", 64, positive=True)
    data: Literal["digits", "cifar10"] = axis(
        "scikit-learn's digits, or CIFAR-10 from --data-dir (python form: MD5 checked, binary form: size)",
        "1",
        "digits",
    )
    data_seed: int = axis("which n images, equally many of each class", "1", 1)
    dtype: Literal["float64", "float32"] = axis("precision of the training", "1", "float32")
    seed: int = axis("seed of the initial weights, mini-batches and perturbations", "1", 0)


SMALL = Cell(3, 10, 0.5, step_size=0.5, tolerance=9.0, max_steps=20, retrain_steps=3, jacobian_images=0, sketch_size=4)
CRITERION = "training error 0 at the end of the retraining"

COLUMNS = {
    "loss": ("cross-entropy on all n images, eq. (4)", "nats"),
    "error": ("share of the n images classified wrongly", "1"),
    "stage": ("0 training, 1 solution found, 2 retraining, 3 done", "1"),
    "sketch": ("linear image of the weights: `sketch_size` numbers for each layer, first layer first", "1"),
    "steps_to_zero": ("steps to the solution; the cap where none was found", "steps"),
    "loss_after": ("loss right after the perturbation", "nats"),
    "error_after": ("training error right after the perturbation", "1"),
    "error_most": ("largest training error from the perturbation on", "1"),
    "error_end": ("training error after retraining; 1 where no solution was found", "1"),
    "recovery_steps": ("retraining steps until the error is 0; `retrain_steps` where it never is", "steps"),
    "distance": ("|W_end - W_solution| / |W_solution|", "1"),
    "cosine": ("cosine between W_end and W_solution, all layers flattened", "1"),
    "barrier_loss": ("largest loss on the segment from W_solution to W_end (at tenths), less the larger end's", "nats"),
    "barrier_error": ("largest error on the segment from W_solution to W_end, less the larger end's", "1"),
    "rank": ("numerical rank of J, eq. (8), at W_end: singular values above max(shape) eps sigma_max", "1"),
    "null_dimension": ("P - rank J", "1"),
    "parameters": ("P, weights and biases", "1"),
    "equations": ("rows of J: 10 for each of `jacobian_images`", "1"),
    "null_floor": ("P - equations, at least 0: the degeneracy that counting promises", "1"),
}

_LIAO = ("Liao, Poggio 2017", "1703.09833")
_SOLVED = ("more parameters than equations", "trained to zero error first")

# fmt: off
CLAIMS = (
    claim(
        "error stays zero",
        "perturbed by c = 0.01 and retrained by full-batch gradient descent, the training error is 0",
        (*_LIAO, "abstract and section on perturbations"), "abstract", "probability", "noise", bound=1.0,
        at_least=True, hypotheses=_SOLVED, where={"noise": 0.01, "branch_from": "solution"},
    ),
    claim(
        "zero-error solutions are degenerate",
        "the zero-error solutions have dimension ≥ P − equations (Bezout), and dim ker J ≥ P − equations",
        (*_LIAO, "degeneracy by Bezout's theorem"), "abstract", "inequality", "n", metric="null_floor",
        bound="null_dimension", constant=1.0,
        hypotheses=("dim ker J ≥ P − equations is linear algebra, true anywhere",),
    ),
    claim(
        "a large perturbation leaves the basin",
        "after c = 0.1 no loss barrier parts the solution from its retrained copy; after c = 2 one does",
        (*_LIAO, "small images, measured"), "derived", "order", "noise", metric="barrier_loss",
        order=("noise", 0.1, 2.0), hypotheses=_SOLVED, where={"branch_from": "solution"},
    ),
    claim(
        "perturbed copies share a basin, fresh ones do not",
        "the barrier to a perturbed and retrained copy is lower than to one trained from fresh weights",
        (*_LIAO, "interpolation within and across basins"), "derived", "order", "noise", metric="barrier_loss",
        order=("branch_from", "solution", "fresh"), hypotheses=_SOLVED, where={"noise": 1.0},
    ),
)
# fmt: on


class State(NamedTuple):
    patches: Float[Tensor, "n h h f"]  # the images as the first convolution sees them: h x h patches of f numbers
    targets: Float[Tensor, "n 10"]  # labels, one in ten
    w: Float[Tensor, " P"]  # all layers, each a matrix (inputs + 1) x outputs with the biases as last row
    w_solution: Float[Tensor, " P"]  # w(0) until there is a solution
    kick: Float[Tensor, " P"]  # N(0, 1) of eq. (6), or the fresh weights
    sizes: Float[Tensor, "m q s a 0"]  # empty: its shape carries m, jacobian_images, sketch_size, activation (1: ReLU)
    fresh: Bool[Tensor, ""]
    noise: Float[Tensor, ""]
    eta: Float[Tensor, ""]
    tolerance: Float[Tensor, ""]
    loss: Float[Tensor, ""]  # of all n images, at w; so the error
    error: Float[Tensor, ""]
    loss_after: Float[Tensor, ""]
    error_after: Float[Tensor, ""]
    error_most: Float[Tensor, ""]
    key: Int[Tensor, ""]
    batch: Int[Tensor, ""]
    max_steps: Int[Tensor, ""]
    retrain_steps: Int[Tensor, ""]
    stage: Int[Tensor, ""]
    steps: Int[Tensor, ""]  # to the solution
    retrained: Int[Tensor, ""]
    recovered: Int[Tensor, ""]  # retraining steps until the error was 0; -1 before


def check(cell: Cell) -> None:
    """ValueError or OSError when the images of this cell are not there, or too few."""
    if cell.n > (most := len(_images.of(cell.data)[1])):
        raise ValueError(f"n = {cell.n}, but {cell.data} has {most} training images")


def draw(cell: Cell) -> State:
    check(cell)
    dtype = getattr(torch, cell.dtype)
    images, labels = _images.chosen(cell.data, cell.n, cell.data_seed)
    layers = architecture(images.shape[1], images.shape[3], cell.m)
    shape = ("perturbed_dcnn", cell.m, cell.n, cell.data, cell.seed)
    trunk, branch = generator(*shape), generator(*shape, "branch", cell.branch)
    w, mini_batches = initial(layers, cell.init_scale, trunk), key(trunk)
    fresh = cell.branch_from == "fresh"
    kick = initial(layers, cell.init_scale, branch) if fresh else torch.randn(w.shape, generator=branch, dtype=w.dtype)
    sizes = torch.zeros(cell.m, min(cell.jacobian_images, cell.n), cell.sketch_size, 1 + (cell.activation != "relu"), 0)
    real = [torch.tensor(x, dtype=torch.float64) for x in (cell.noise, cell.step_size, cell.tolerance, 0, 0, 0, 0, 0)]
    whole = torch.tensor([min(cell.batch, cell.n), cell.max_steps, cell.retrain_steps, TRAIN, 0, 0, -1])
    tensors = [x.to(dtype) for x in (_images.neighbourhoods(images), torch.eye(10)[labels], w, w, kick, sizes)]
    s = State(*[*tensors, torch.tensor(fresh), *(x.to(dtype) for x in real), mini_batches, *whole])
    loss, error = evaluate(s, s.w, torch.ones(cell.n, dtype=dtype))
    return s._replace(loss=loss, error=error)


def step(s: State) -> State:
    """One step of the stage that the training is in; nothing once it is done."""
    u = uniform(s.key, s.steps, s.targets.shape[0])
    size = torch.where(s.stage == TRAIN, s.batch, len(u))
    sample = (u <= u.sort().values.gather(0, (size - 1)[None])).to(s.w.dtype)  # its `size` smallest numbers
    gradient = torch.func.grad(lambda w: evaluate(s, w, sample)[0])(s.w)
    w = torch.where(s.stage == PERTURB, perturbed(s), torch.where(s.stage == DONE, s.w, s.w - s.eta * gradient))
    loss, error = evaluate(s, w, torch.ones_like(sample))

    training, perturbing, retraining = (s.stage == stage for stage in (TRAIN, PERTURB, RETRAIN))
    steps, retrained = s.steps + training, s.retrained + retraining
    ready = training & (error == 0) & (loss <= s.tolerance)
    stage = torch.where(training & (steps >= s.max_steps), DONE, s.stage)
    stage = torch.where(ready, PERTURB, torch.where(perturbing, RETRAIN, stage))
    recovers = (perturbing | retraining) & (s.recovered < 0) & (error == 0)
    # fmt: off
    return s._replace(
        w=w, loss=loss, error=error, steps=steps, retrained=retrained,
        w_solution=torch.where(ready, w, s.w_solution),
        loss_after=torch.where(perturbing, loss, s.loss_after),
        error_after=torch.where(perturbing, error, s.error_after),
        error_most=torch.where(perturbing | retraining, torch.maximum(s.error_most, error), s.error_most),
        stage=torch.where(retraining & (retrained >= s.retrain_steps), DONE, stage),
        recovered=torch.where(recovers, retrained, s.recovered),
    )
    # fmt: on


def observe(s: State) -> dict[str, Tensor]:
    weights = _sketch.sketch(matrices(s, s.w), s.sizes.shape[2])
    return {"loss": s.loss, "error": s.error, "stage": s.stage.to(s.w.dtype), "sketch": weights}


def measure(s: State) -> dict[str, Float[Tensor, ""]]:
    copy, solution = s.w.double(), s.w_solution.double()
    along = [s.w_solution, *(s.w_solution + i / 10 * (s.w - s.w_solution) for i in range(1, 10)), s.w]
    losses, errors = zip(*(evaluate(s, w, torch.ones_like(s.targets[:, 0])) for w in along), strict=True)
    return {
        "steps_to_zero": s.steps.double(),
        "loss_after": s.loss_after,
        "error_after": s.error_after,
        "error_most": s.error_most,
        "error_end": torch.where(s.retrained > 0, s.error, 1.0),
        "recovery_steps": torch.where(s.recovered < 0, s.retrain_steps, s.recovered).double(),
        "distance": ((copy - solution).square().sum() / solution.square().sum()).sqrt(),
        "cosine": (copy * solution).sum() / (copy.square().sum() * solution.square().sum()).sqrt(),
        "barrier_loss": torch.stack(losses).max() - torch.maximum(losses[0], losses[-1]),
        "barrier_error": torch.stack(errors).max() - torch.maximum(errors[0], errors[-1]),
        "rank": (rank := jacobian_rank(s)),
        "null_dimension": s.w.shape[0] - rank,
    }


def theory(s: State) -> dict[str, Float[Tensor, ""]]:
    one, P, equations = torch.ones_like(s.loss), s.w.shape[0], 10 * s.sizes.shape[1]
    numbers = {"parameters": P, "equations": equations, "null_floor": max(P - equations, 0)}
    return {name: one * number for name, number in numbers.items()}


def solved(s: State) -> Bool[Tensor, ""]:
    return (s.stage == DONE) & (s.retrained > 0) & (s.error == 0)


def budget(s: State) -> Int[Tensor, ""]:
    return s.max_steps + 1 + s.retrain_steps


def architecture(side: int, channels: int, m: int) -> list[tuple[int, int]]:
    """(inputs + 1, outputs) of each layer: two convolutions for images of side 8, three for 32; two dense layers."""
    filters = [channels, m, 2 * m] if side <= 8 else [channels, m, 2 * m, 2 * m]
    positions = (side // 2 ** (len(filters) - 1)) ** 2
    return [*((9 * a + 1, b) for a, b in pairwise(filters)), (positions * filters[-1] + 1, 4 * m), (4 * m + 1, 10)]


def matrices(s: State, w: Float[Tensor, " P"]) -> list[Float[Tensor, "a b"]]:
    """The layers in a flat vector of weights."""
    layers = architecture(2 * s.patches.shape[1], s.patches.shape[3] // 9, s.sizes.shape[0])
    parts = w.split([a * b for a, b in layers])
    return [part.reshape(size) for part, size in zip(parts, layers, strict=True)]


def initial(layers: list[tuple[int, int]], scale: float, rng: torch.Generator) -> Float[Tensor, " P"]:
    """Weights N(0, scale^2 2 / inputs), biases 0."""
    parts = [scale * math.sqrt(2 / (a - 1)) * torch.randn(a, b, generator=rng, dtype=torch.float64) for a, b in layers]
    return torch.cat([torch.cat([W[:-1], torch.zeros_like(W[-1:])]).flatten() for W in parts])


def perturbed(s: State) -> Float[Tensor, " P"]:
    """Eq. (6), or the fresh weights."""
    scales = [W.abs().mean().expand(W.shape).flatten() for W in matrices(s, s.w)]
    return torch.where(s.fresh, s.kick, s.w + s.noise * torch.cat(scales) * s.kick)


def outputs(s: State, w: Float[Tensor, " P"], sample: Float[Tensor, " n"]) -> Float[Tensor, "n 10"]:
    """Eqs. (1) to (3) for all n images, with the batch statistics of those that ``sample`` marks with 1."""
    *hidden, last = matrices(s, w)
    share, relu = (sample / sample.sum())[:, None, None], s.sizes.shape[3] == 1
    h = s.patches.to(w.dtype)
    for i, W in enumerate(hidden):
        if i:
            h = _images.neighbourhoods(h) if i < len(hidden) - 1 else h.flatten(1)[:, None, None]
        n, side = h.shape[:2]
        z = (h.reshape(n * side * side, -1) @ W[:-1]).reshape(n, side * side, -1)  # the norm takes any bias away
        z = z - (z * share).sum((0, 1)) / (side * side)
        z = z * (1 / ((z * z * share).sum((0, 1)) / (side * side) + 1e-5).sqrt())
        z = z.clamp(min=0) if relu else (z * z + 1) / (2 * math.sqrt(2 * math.pi)) + z / 2
        h = z.reshape(n, side, side, -1)
    return h.flatten(1) @ last[:-1] + last[-1]


def evaluate(s: State, w: Float[Tensor, " P"], sample: Float[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Loss, eq. (4), and error over the images that ``sample`` marks with 1."""
    f, share = outputs(s, w, sample), sample / sample.sum()
    wrong = (f.argmax(-1) != s.targets.argmax(-1)).to(w.dtype)
    return -(f.log_softmax(-1) * s.targets * share[:, None]).sum(), (wrong * share).sum()


def jacobian_rank(s: State) -> Float[Tensor, ""]:
    """Rank of J, eq. (8), in float64 whatever the training's precision."""
    everything = torch.ones_like(s.targets[:, 0]).double()
    if not (q := s.sizes.shape[1]):
        return torch.zeros_like(s.loss).double()
    J = torch.func.jacrev(lambda w: outputs(s, w, everything)[:q].flatten(), chunk_size=10)(s.w.double())
    sigma = torch.linalg.svdvals(J)
    return (sigma > max(J.shape) * torch.finfo(J.dtype).eps * sigma.max()).sum().double()
