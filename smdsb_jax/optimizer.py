"""Optimizers and learning-rate schedules of the hosts, by step."""

import jax
import jax.numpy as jnp
import optax

SCHEDULES = ("cosine", "one_cycle", "waves", "wave", "constant")
# how often the rate goes down and up: once in two rounds, of which GAST has ten and MLSP two
WAVES = {"waves": 5, "wave": 1}


def build_optimizer(
    name: str, learning_rate: float, weight_decay: float, schedule: str, steps: int
) -> optax.GradientTransformation:
    """Adam with the decay added to the gradient (`adam`; DefRec, GAST) or decoupled (`adamw`; Self-dist).

    Args:
      name: adam or adamw; betas (0.9, 0.999), eps 1e-8.
      learning_rate: the peak.
      weight_decay: on all parameters, as PyTorch has it.
      schedule: of the learning rate, see `learning_rate_schedule`. With `one_cycle` beta_1 moves against it,
        from 0.95 to 0.85 and back, as PyTorch's cycle does to every optimizer of Adam's kind.
      steps: length of the schedule.

    Raises:
      ValueError: an unknown optimizer or schedule.
    """
    rate = learning_rate_schedule(schedule, learning_rate, steps)
    if name not in ("adam", "adamw"):
        raise ValueError(f"config.optimizer.name = {name!r}: one of 'adam', 'adamw'.")
    decay = optax.add_decayed_weights(weight_decay)
    adam = optax.scale_by_adam()
    if schedule == "one_cycle":
        constants = ("b2", "eps", "eps_root")  # else they become arrays, of less precision
        adam = optax.inject_hyperparams(optax.scale_by_adam, constants)(b1=momentum_cycle(steps))
    order = (decay, adam) if name == "adam" else (adam, decay)
    return optax.chain(*order, optax.scale_by_learning_rate(rate))


def learning_rate_schedule(name: str, peak: float, steps: int) -> optax.Schedule:
    """Step → learning rate.

    `cosine` to 0; `one_cycle` from 1/25 of the peak up at 30 % and down to 1/250,000; `waves`: a cosine that
    goes to 0 and back five times, as GAST's second stage, `wave`: once, as MLSP's; `constant`.

    Raises:
      ValueError: an unknown schedule.
    """
    if name == "cosine":
        return optax.cosine_decay_schedule(peak, steps)
    if name == "one_cycle":
        return optax.cosine_onecycle_schedule(steps, peak, pct_start=0.3, div_factor=25, final_div_factor=1e4)
    if name in WAVES:
        return lambda step: peak * (1 + jnp.cos(2 * jnp.pi * WAVES[name] * step / steps)) / 2
    if name == "constant":
        return optax.constant_schedule(peak)
    known = ", ".join(map(repr, SCHEDULES))
    raise ValueError(f"config.optimizer.schedule = {name!r}: one of {known}.")


def momentum_cycle(steps: int) -> optax.Schedule:
    """beta_1 of the one-cycle schedule: 0.95, 0.85 at 30 %, 0.95 again, by half cosines."""
    top = int(0.3 * steps)

    def beta(count: jax.typing.ArrayLike) -> jax.Array:
        step = jnp.asarray(count, float)
        rising = (step - top) / max(steps - top, 1)
        share = jnp.where(step < top, 1 - step / max(top, 1), jnp.clip(rising, 0, 1))  # 0 at the peak
        return 0.85 + 0.1 * (1 - jnp.cos(jnp.pi * share)) / 2

    return beta
