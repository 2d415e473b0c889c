"""Rules that merge the encoder gradients of the tasks into one; the first task is the classification."""

from collections.abc import Callable

from smdsb_jax.combine.aligned_mtl import aligned_mtl
from smdsb_jax.combine.base import SPLITS, Combine, Merged, Tasks, Told, task_names, task_of
from smdsb_jax.combine.cagrad import cagrad
from smdsb_jax.combine.cosine_gate import cosine_gate
from smdsb_jax.combine.dtp import dtp
from smdsb_jax.combine.dwa import dwa
from smdsb_jax.combine.famo import famo
from smdsb_jax.combine.gradnorm import gradnorm
from smdsb_jax.combine.lbtw import lbtw
from smdsb_jax.combine.mamg_reconstructed import mamg_reconstructed
from smdsb_jax.combine.metabalance import metabalance
from smdsb_jax.combine.mgda import mgda
from smdsb_jax.combine.pcgrad import pcgrad
from smdsb_jax.combine.record import metrics_of
from smdsb_jax.combine.sum import sum_gradients
from smdsb_jax.combine.uncertainty import uncertainty
from smdsb_jax.combine.upgrad import upgrad

COMBINE: dict[str, Callable[..., Combine]] = {
    "sum": sum_gradients,  # what every host does
    # by the gradients' directions and lengths
    "pcgrad": pcgrad,  # removes the component along which two tasks conflict
    "cagrad": cagrad,  # near the mean, the largest of the smallest gains
    "mgda": mgda,  # the shortest vector of the hull
    "upgrad": upgrad,  # projects each gradient to where it hurts no task
    "aligned_mtl": aligned_mtl,  # orthogonal gradients of equal length
    "cosine_gate": cosine_gate,  # auxiliary gradients as far as they agree
    "mamg_reconstructed": mamg_reconstructed,  # equal gains for tasks in conflict
    "metabalance": metabalance,  # auxiliary gradients as long as the classification's
    "gradnorm": gradnorm,  # learned weights by lengths and by how fast losses fall
    # by the losses alone: heads are weighed too
    "uncertainty": uncertainty,  # learned precisions
    "dwa": dwa,  # how much losses fell from one window of steps to the next
    "dtp": dtp,  # how much is solved
    "lbtw": lbtw,  # how far losses have fallen
    "famo": famo,  # logarithms of the losses fall alike
}

__all__ = ["COMBINE", "SPLITS", "Combine", "Merged", "Tasks", "Told", "metrics_of", "task_names", "task_of"]
