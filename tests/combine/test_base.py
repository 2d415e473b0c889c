import pytest

from smdsb_jax.combine import task_names, task_of


@pytest.mark.parametrize(
    "split, names",
    [
        ("task", ("class", "pretext")),
        ("domain", ("class", "pretext/source", "pretext/target", "pretext/joint")),
        ("loss", ("class", "pretext/rotation", "pretext/mmd")),
    ],
)
def test_every_loss_belongs_to_one_of_the_tasks_of_a_split(split, names):
    assert task_names(split, ("rotation", "mmd"), joint=True) == names
    losses = [("source", "rotation"), ("target", "rotation"), ("joint", "mmd")]
    assert {task_of(split, *loss) for loss in losses} == set(names[1:])
    assert task_names(split, (), joint=False)[0] == "class"
