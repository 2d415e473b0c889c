"""What the configuration chose for the step: functions and constants. `build.py` makes them."""

from typing import NamedTuple

import optax

from smdsb_jax.augment import Augment
from smdsb_jax.combine import Combine, Tasks, task_names
from smdsb_jax.network import Network
from smdsb_jax.pretext import Pretext
from smdsb_jax.selection import Selection


class Parts(NamedTuple):
    """Bound to the step before it is jitted."""

    network: Network
    pretext: Pretext
    selection: Selection | None  # None: every sample takes part in the pretext task
    combine: Combine
    combine_split: str  # which losses are a task of their own to the rule
    optimizer: optax.GradientTransformation
    augment: Augment
    class_weight: float
    label_weights: str  # per_sample or batch_mean: how the labels' weights act
    pretext_weight: float
    pretext_on_source: bool
    mixup_alpha: float  # of PCM; 0: none
    saliency_mode: str
    saliency_alpha: float
    steps: int  # of the stage, for ramps
    accumulate: int = 1  # parts of the mini-batch that the passes are of

    @property
    def tasks(self) -> Tasks:
        """Names of the tasks whose gradients the rule gets."""
        return task_names(self.combine_split, self.pretext.names, self.pretext.joint is not None)
