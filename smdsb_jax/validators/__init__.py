"""Validators: what outputs on the target tell of a network without the target's labels; high is good.

The accuracy on source validation, the oldest of them, is recorded as a score of its own, `source_val`.
"""

from smdsb_jax.registry import FUNCTION, lookup
from smdsb_jax.validators.base import Evidence, Score, Validator
from smdsb_jax.validators.bnm import bnm
from smdsb_jax.validators.class_clusters import class_ami, class_ss
from smdsb_jax.validators.corr_c import corr_c
from smdsb_jax.validators.dev import dev, devn
from smdsb_jax.validators.diversity import diversity
from smdsb_jax.validators.entropy import entropy
from smdsb_jax.validators.infomax import infomax
from smdsb_jax.validators.iwcv import iwcv
from smdsb_jax.validators.mano import mano
from smdsb_jax.validators.mixval import mixval
from smdsb_jax.validators.snd import snd

VALIDATORS: dict[str, Validator] = {
    "entropy": Validator(entropy),  # are predictions sure?
    "diversity": Validator(diversity),  # are all classes predicted?
    "infomax": Validator(infomax),  # both
    "snd": Validator(snd),  # do predictions crowd?
    "bnm": Validator(bnm),  # sure and of all classes, by one norm
    "corr_c": Validator(corr_c),  # the same, bounded
    "mano": Validator(mano),  # are they sure, whatever the scale of the logits?
    "class_ami": Validator(class_ami, per_cloud=True),  # do embeddings cluster by predicted class?
    "class_ss": Validator(class_ss, per_cloud=True),  # are those clusters apart?
    "dev": Validator(dev),  # source risk where the target is
    "devn": Validator(devn),  # the same, with weights that no single cloud rules
    "iwcv": Validator(iwcv),  # source accuracy where the target is
    "mixval": Validator(mixval, per_cloud=True),  # are predictions stable between clouds?
}


def find_validator(name: str) -> Validator:
    """The validator of this name, or a user's `package.module:function`.

    Raises:
      ValueError: an unknown name, or what was imported is no function.
    """
    found: Validator | Score = lookup(VALIDATORS, name, "config.validators.names", FUNCTION)
    return found if isinstance(found, Validator) else Validator(found)


__all__ = ["VALIDATORS", "Evidence", "Score", "Validator", "find_validator"]
