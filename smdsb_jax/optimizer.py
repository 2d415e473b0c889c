"""Optimizers and learning-rate schedules of the hosts, by step."""

import optax


def build_optimizer(
    name: str, learning_rate: float, weight_decay: float, schedule: str, steps: int
) -> optax.GradientTransformation:
    """Adam with the decay added to the gradient (`adam`; DefRec, GAST) or decoupled (`adamw`; Self-dist).

    Args:
      name: adam or adamw; betas (0.9, 0.999), eps 1e-8.
      learning_rate: the peak.
      weight_decay: on all parameters, as PyTorch has it.
      schedule: `cosine` to 0; `one_cycle` from 1/25 of the peak up at 30 % and down to 1/250,000; `constant`.
      steps: length of the schedule.

    Raises:
      ValueError: an unknown optimizer or schedule.
    """
    rate = learning_rate_schedule(schedule, learning_rate, steps)
    if name == "adamw":
        return optax.adamw(rate, weight_decay=weight_decay)
    if name == "adam":
        return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(rate))
    raise ValueError(f"config.optimizer.name = {name!r}: one of 'adam', 'adamw'.")


def learning_rate_schedule(name: str, peak: float, steps: int) -> optax.Schedule:
    """Step → learning rate; see `build_optimizer`."""
    if name == "cosine":
        return optax.cosine_decay_schedule(peak, steps)
    if name == "one_cycle":
        return optax.cosine_onecycle_schedule(steps, peak, pct_start=0.3, div_factor=25, final_div_factor=1e4)
    if name == "constant":
        return optax.constant_schedule(peak)
    raise ValueError(f"config.optimizer.schedule = {name!r}: one of 'cosine', 'one_cycle', 'constant'.")
