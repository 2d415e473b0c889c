"""Tasks trained beside the classification, self-supervised or of alignment: heads, variables, losses."""

from collections.abc import Callable

from smdsb_jax.pretext.base import Losses, Pretext, View, build_view, prepare
from smdsb_jax.pretext.defrec import defrec, defrec_radius
from smdsb_jax.pretext.dfan import dfan
from smdsb_jax.pretext.gast import gast
from smdsb_jax.pretext.glrv import glrv
from smdsb_jax.pretext.implicit import implicit
from smdsb_jax.pretext.mlsp import mlsp
from smdsb_jax.pretext.none import none
from smdsb_jax.pretext.pcfea import pcfea
from smdsb_jax.pretext.pointdan import pointdan
from smdsb_jax.pretext.reconstructing_space import reconstructing_space
from smdsb_jax.pretext.self_distillation import self_distillation

PRETEXT: dict[str, Callable[..., Pretext]] = {
    "defrec": defrec,  # rebuild a deformed region: the host of the paper's first tables
    "defrec_radius": defrec_radius,  # the region is a ball instead of a cell: its PointSegDA variant
    "self_distillation": self_distillation,  # agree with an averaged teacher: host of its best row
    "gast": gast,  # tell the rotations of a mixed cloud and which cell was distorted
    "mlsp": mlsp,  # rebuild a cell, and count neighbors and tell normals everywhere: a method of Table I
    "reconstructing_space": reconstructing_space,  # a jigsaw of cells, as an example the paper names
    "implicit": implicit,  # tell the distances of random places to the cloud's surface
    "pointdan": pointdan,  # heads that disagree, nodes that agree: alignment instead of self-supervision
    "dfan": dfan,  # DFAN-like: distances of embeddings and of every layer's nodes, a reconstruction
    "pcfea": pcfea,  # source features in the target's style, prototypes of domains in between
    "glrv": glrv,  # tell a scale, rebuild what was squeezed onto a plane; after an abstract
    "none": none,  # source_only: no self-supervision
}

__all__ = ["PRETEXT", "Losses", "Pretext", "View", "build_view", "prepare"]
