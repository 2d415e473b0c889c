"""Self-distillation: the embedding of a distorted view agrees with a teacher's of a clean one."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from smdsb_jax import augment
from smdsb_jax.network import Passes, Train
from smdsb_jax.pretext.base import Losses, Pretext, View
from smdsb_jax.registry import check_range
from smdsb_jax.state import Features, Tree, Variables


class Teacher(NamedTuple):
    """The exponential moving average of the student's encoder."""

    encoder: dict[str, Tree]  # {"params" | "batch_stats": …}
    updates: Int[Array, ""]


class Prepared(NamedTuple):
    """What student and teacher see of each cloud, and what its loss weighs."""

    strong: Float[Array, "batch n 3"]
    weak: Float[Array, "batch n 3"]
    label: Int[Array, "batch *points"] | None
    weight: Float[Array, " batch"]


def self_distillation(
    *,
    teacher_temperature: float = 0.1,
    student_temperature: float = 0.5,
    momentum: float = 0.999,
    jitter_std: float = 0.01,
    jitter_clip: float = 0.05,
) -> Pretext:
    """Cross-entropy of softmaxes over embedding dimensions [Cardace et al., WACV 2023, arXiv:2210.08226].

    l_i = w(t) / 2 · -sum_d p_d log q_d with p = softmax(teacher / 0.1), q = softmax(student / 0.5) over the
    embedding's dimensions; the half makes the sum of both domains' means the published mean over all samples.
    w(t) = exp(-5 (1 - t)^2), t the share of the stage done. The student sees the view of the classification
    pass, the teacher (in inference mode) another sub-sampling of the stored cloud with jitter alone.

    Args:
      teacher_temperature: of the targets p.
      student_temperature: of the predictions q.
      momentum: the largest share of the old teacher in an update.
      jitter_std: of the teacher's view, per coordinate.
      jitter_clip: largest jitter of the teacher's view.

    Raises:
      ValueError: an option out of its range.
    """
    check_range("pretext.teacher_temperature", teacher_temperature, 1e-3, 1e3)
    check_range("pretext.student_temperature", student_temperature, 1e-3, 1e3)
    check_range("pretext.momentum", momentum, 0, 1)
    check_range("pretext.jitter_std", jitter_std, 0, 1)
    check_range("pretext.jitter_clip", jitter_clip, 0, 1)

    def init(key: jax.Array, features: Features, variables: Variables) -> tuple[dict[str, Tree], Tree]:
        del key, features
        # copies: the step donates its state, in which no array may stand twice
        encoder = {kind: jax.tree.map(jnp.copy, parts["encoder"]) for kind, parts in variables.items()}
        return {"params": {}, "batch_stats": {}}, Teacher(encoder, jnp.zeros((), jnp.int32))

    def prepare(view: View, key: jax.Array) -> Prepared:
        keys = jax.random.split(key, view.stored.shape[0])
        weak = jax.vmap(lambda k, cloud: weak_view(k, cloud, view.points.shape[1]))(keys, view.stored)
        ramp = jnp.exp(-5 * (1 - view.progress) ** 2)
        return Prepared(view.points, weak, view.label, jnp.full(len(weak), ramp / 2))

    def loss(
        passes: Passes,
        variables: Variables,
        state: Teacher,
        prepared: Prepared,
        key: jax.Array,
        *,
        train: Train = True,
    ) -> Losses:
        student_key, teacher_key = jax.random.split(key)
        student, after = passes.encode(variables, prepared.strong, student_key, train=train)
        frozen = {kind: {"encoder": tree} for kind, tree in state.encoder.items()}
        teacher, _ = passes.encode(frozen, prepared.weak, teacher_key, train=False)
        distance = distillation_loss(
            jax.lax.stop_gradient(teacher.embedding) / teacher_temperature,
            student.embedding / student_temperature,
        )
        # a labelled view went through the classification pass: its statistics are not recorded twice
        after = after if prepared.label is None else variables
        return Losses({"distillation": prepared.weight * distance}, after)

    def weak_view(key: jax.Array, cloud: Float[Array, "stored 3"], points: int) -> Float[Array, "n 3"]:
        subsample_key, jitter_key = jax.random.split(key)
        cloud = augment.subsample(subsample_key, cloud, points, "uniform").points
        return augment.jitter(jitter_key, cloud, jitter_std, jitter_clip)

    def update(state: Teacher, variables: Variables) -> Teacher:
        encoder = {kind: parts["encoder"] for kind, parts in variables.items()}
        return Teacher(average(state, encoder, momentum), state.updates + 1)

    return Pretext(init, prepare, loss, ("distillation",), update)


def distillation_loss(
    teacher: Float[Array, "batch d"], student: Float[Array, "batch d"]
) -> Float[Array, " batch"]:
    """-sum_d softmax(teacher)_d log softmax(student)_d."""
    return -jnp.sum(jax.nn.softmax(teacher, axis=-1) * jax.nn.log_softmax(student, axis=-1), axis=-1)


def average(teacher: Teacher, student: dict[str, Tree], momentum: float) -> dict[str, Tree]:
    """Teacher · a + student · (1 - a), a = min(1 - 1 / (t + 1), momentum) with t the updates before this one.

    Parameters and running statistics alike.
    """
    keep = jnp.minimum(1 - 1 / (teacher.updates + 1), momentum)
    return jax.tree.map(lambda old, new: keep * old + (1 - keep) * new, teacher.encoder, student)
