import pytest

from smdsb_jax.datasets.readers.base import MOST_BYTES, Unreadable, check_size, optional


def test_arrays_up_to_the_limit_pass():
    check_size((MOST_BYTES,), MOST_BYTES)
    with pytest.raises(Unreadable, match=r"declares shape \(3000000, 1024\), 11 GiB; 4 GiB are the most"):
        check_size((3000000, 1024), 4 * 3000000 * 1024)


def test_a_missing_package_is_named_with_what_to_install():
    assert optional("math", ".pcd").sqrt(4) == 2
    with pytest.raises(Unreadable) as told:
        optional("no_such_module", ".pcd", "no-such[one]")
    assert str(told.value) == (
        "reading .pcd needs no_such_module: pip install 'smdsb_jax[scans]' (or pip install no-such[one])"
    )
