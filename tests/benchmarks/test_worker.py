"""A contender's answers, in this process."""

import io
import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import worker
from benchmarks.contenders import CONTENDERS, Setting
from benchmarks.worker import serve
from tests.tiers import exhaustive

TINY = Setting("pointnet", batch=4, points=32, warmup=0)


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    narrow = {"encoder.embedding": 16, "encoder.layers": (8, 8)}
    for name, contender in CONTENDERS.items():
        monkeypatch.setitem(CONTENDERS, name, contender._replace(fields={**narrow, **contender.fields}))
    before = jax.config.values["jax_default_matmul_precision"]
    yield
    jax.config.update("jax_default_matmul_precision", before)


def served(name, commands, setting=TINY):
    answers = io.StringIO()
    serve(name, setting, io.StringIO(commands), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def check(name):
    ready, first, second, memory = served(name, "step\nstep\nmemory\n")
    assert ready["precision"] == "float32" and ready["free_bytes"] > 2**20
    assert ready["seconds"]["first_step"] >= ready["seconds"].get("compile", 0) >= 0
    for answer in (first, second):
        assert answer["seconds"] > 0 and answer["idle"] >= 0
    assert first["metrics"]["loss/class"] != second["metrics"]["loss/class"]  # the state is updated
    assert memory["peak_bytes"] > 50 * 2**20
    return ready


def test_our_step_compiles_apart_and_updates(monkeypatch):
    # a step that compiles at once; tests/launch/test_benchmark.py runs the real one
    def step(parts, state, batch):
        del parts
        return state.replace(step=state.step + 1), {"loss/class": jnp.sum(batch.source.points) + state.step}

    monkeypatch.setattr(worker, "train_step", step)
    assert {"trace", "compile", "first_step"} == check("jax mask shared")["seconds"].keys()


@pytest.mark.parametrize("name", ["torch eager", "torch factorised gather"])
@exhaustive
def test_the_reference_answers_alike(name):
    pytest.importorskip("torch")
    check(name)


def test_inference_is_the_forward_pass_alone_and_the_references():
    """Both have the same weights; the logits' mean square is what they are compared by."""
    pytest.importorskip("torch")
    setting = TINY._replace(inference=True, batch=1)
    of = {name: served(name, "step\nstep\n", setting)[1:] for name in ("jax mask shared", "torch eager")}
    values = {name: [a["metrics"]["logits/mean_square"] for a in answers] for name, answers in of.items()}
    (ours, again), (theirs, _) = values["jax mask shared"], values["torch eager"]
    assert ours == again > 0 and ours == pytest.approx(theirs, rel=1e-3)
