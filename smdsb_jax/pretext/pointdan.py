"""PointDAN: two classifiers that disagree on the target, and nodes that are alike in both domains."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax.geometry.distributions import squared_mean_discrepancy
from smdsb_jax.layers.gradient_reversal import reverse_gradient
from smdsb_jax.layers.nodes import NodeAttention, pool_at_nodes
from smdsb_jax.network import Passes, Train, per_sample_mean, run_own
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.pretext.second_head import init_second_head, run_second_head
from smdsb_jax.registry import check_counts, check_range
from smdsb_jax.state import Features, Pair, Tree, Variables
from smdsb_jax.tasks import Output, cross_entropy

AT_LAYER = 2  # whose features the nodes of an encoder without nodes have: where the published one has its own


class Prepared(NamedTuple):
    """The clouds of the classification pass, the source's labels, and the progress of the stage."""

    points: Float[Array, "batch n 3"]
    label: Int[Array, "batch *points"] | None  # None: of the target
    progress: Float[Array, " batch"]  # the same for all


def pointdan(
    *,
    class_weight: float = 1.0,
    discrepancy_weight: float = 1.0,
    mmd_weight: float = 1.0,
    sigmas: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0),
    nodes: int = 64,
    members: int = 64,
) -> Pretext:
    """Global and local alignment   [PointDAN, Qin et al., NeurIPS 2019, arXiv:1911.02744].

    Losses per sample: on the source `second_class`, the cross-entropy of a second head (that of the first is
    the class pass); on the target `discrepancy`, the mean over classes of |softmax(z_1) - softmax(z_2)|, by
    which the heads ascend and the encoder descends, the latter times sin(π/2 · progress): maximum classifier
    discrepancy in one pass [arXiv:1712.02560]. Of both domains `mmd` = `squared_mean_discrepancy` of the
    clouds' node features under an attention per domain (`NodeAttention`), the kept samples' alone.

    Published with `encoder=node_pointnet`. Without nodes of the encoder's own, a node has the maximum of the
    second per-point layer over the points nearest to a farthest point. The second head is built as the first.
    The release has three Adam optimizers, of which two update the encoder in turn, one after each kind of
    alignment, with rates and schedules of their own; here there is one update per step, with the rates of
    the configuration. (Embedded clouds, catalog to scan, thin PointNet, 100 steps, three seeds: two updates
    in turn, each with an Adam of its own, end at 40.2 +- 2.1 % of the target, one update at 43.1 +- 12.2 %.)
    Predictions are those of the first head; the release averages two.

    Args:
      class_weight: of `second_class`; beside `classification.weight`, that of the first head.
      discrepancy_weight: of `discrepancy`.
      mmd_weight: of `mmd`.
      sigmas: standard deviations of the Gaussians whose sum is the kernel.
      nodes: of a cloud, for an encoder that has none; of a smaller cloud all points.
      members: points of such a node.

    Raises:
      ValueError: an option out of its range.
    """
    for name, weight in (("class", class_weight), ("discrepancy", discrepancy_weight), ("mmd", mmd_weight)):
        check_range(f"pretext.{name}_weight", weight, 0, 1e6)
    if not sigmas:
        raise ValueError("config.pretext.sigmas = (): one or more standard deviations.")
    for sigma in sigmas:
        check_range("pretext.sigmas", sigma, 1e-6, 1e6)
    check_counts("pretext.nodes", nodes)
    check_counts("pretext.members", members)
    attention = NodeAttention()

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        head_key, *keys = jax.random.split(key, 3)
        points = jax.ShapeDtypeStruct((*features.layers[0].shape[:2], 3), features.embedding.dtype)
        width = jax.eval_shape(of_nodes, features, points)
        own: Tree = {"second": init_second_head(head_key, variables)}
        for domain, k in zip(Pair._fields, keys, strict=True):
            own[domain] = attention.lazy_init(k, width, train=False)
        kinds = ("params", "batch_stats")
        return {kind: {name: tree.get(kind, {}) for name, tree in own.items()} for kind in kinds}, ()

    def of_nodes(features: Features, points: Float[Array, "batch n 3"]) -> Float[Array, "batch d"]:
        """Node features side by side, those of a channel together."""
        found = features.nodes
        if found is None:
            (found,) = pool_at_nodes(features.layers[:AT_LAYER][-1:], points, nodes, members)
        return jnp.swapaxes(found, 1, 2).reshape(found.shape[0], -1)

    def prepare(view: View, key: jax.Array) -> Prepared:
        del key
        label = view.label if view.domain == "source" else None
        return Prepared(view.points, label, jnp.full(view.points.shape[0], view.progress))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        del state
        keys, (points, label, progress) = jax.random.split(key, 3), prepared
        features, variables = passes.encode(variables, points, keys[0], train=train)
        if label is not None:
            logits, variables = run_second_head(passes, variables, features, keys[1], train=train)
            of_each = per_sample_mean(cross_entropy(logits, label))
            return Losses({"second_class": class_weight * of_each}, variables)
        factor = jnp.sin(jnp.pi / 2 * progress)
        features = jax.tree.map(lambda leaf: reverse_gradient(leaf, factor), features)
        first, variables = passes.head(variables, features, keys[1], train=train)
        second, variables = run_second_head(passes, variables, features, keys[2], train=train)
        apart = reverse_gradient(discrepancy(first, second), jnp.ones_like(progress))  # the heads ascend
        return Losses({"discrepancy": discrepancy_weight * apart}, variables)

    def joint(
        passes: Passes,
        variables: Variables,
        state: Tree,
        prepared: Pair,
        keep: Pair,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> tuple[dict[str, Float[Array, ""]], Variables]:
        del state
        found = []
        for domain, clouds, k in zip(Pair._fields, prepared, jax.random.split(key), strict=True):
            features, variables = passes.encode(variables, clouds.points, k, train=train)
            nodes_of_domain = of_nodes(features, clouds.points)
            of_domain, variables = run_own(attention, variables, domain, nodes_of_domain, train=train)
            found.append(of_domain)
        weights = Pair(*(mask.astype(of.dtype) for mask, of in zip(keep, found, strict=True)))
        distance = squared_mean_discrepancy(Pair(*found), weights, [sigma**2 for sigma in sigmas])
        return {"mmd": mmd_weight * distance}, variables

    return Pretext(init, prepare, loss, ("second_class", "discrepancy", "mmd"), joint=joint)


def discrepancy(first: Output, second: Output) -> Float[Array, " batch"]:
    """The mean over classes, and points where each has logits, of |softmax(first) - softmax(second)|."""
    return per_sample_mean(jnp.abs(jax.nn.softmax(first, axis=-1) - jax.nn.softmax(second, axis=-1)))
