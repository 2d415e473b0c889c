"""Two devices that are the same, and two results that are not."""

import jax
import numpy as np
import pytest

from benchmarks import agreement
from benchmarks.contenders import CONTENDERS, Setting
from tests.tiers import exhaustive


@exhaustive
def test_two_cpu_devices_agree_in_all(monkeypatch):
    narrow = {"encoder.embedding": 16, "encoder.layers": (8, 8)}
    contender = CONTENDERS[agreement.NAME]
    monkeypatch.setitem(CONTENDERS, agreement.NAME, contender._replace(fields=contender.fields | narrow))
    setting = Setting("pointnet", batch=4, points=32)
    first, second = (agreement.on_device(device, setting) for device in jax.devices()[1:3])
    found = agreement.differences(first, second)
    assert set(found) == set(agreement.TOLERANCE) and set(found.values()) == {0.0}
    assert first["kept"].sum() == 3 and first["saliency"].shape == (4, 32)
    assert "NO" not in agreement.agreement_table(found)
    assert np.any(first["update"]["encoder"]["agg"]["dense"]["kernel"] != 0)


@pytest.mark.parametrize("other", [2.02, np.nan])
def test_what_differs_is_told(other):
    found = agreement.differences(
        {"losses": {"a": np.array([1.0, 2.0])}, "kept": np.array([True, False])},
        {"losses": {"a": np.array([1.0, other])}, "kept": np.array([True, True])},
    )
    np.testing.assert_allclose(found["losses"], 0.01 if other == 2.02 else np.nan)
    assert found["kept"] == 1.0
    assert not agreement.agrees("losses", found["losses"]) and not agreement.agrees("kept", 1.0)
    assert agreement.agreement_table(found).count("NO") == 2
