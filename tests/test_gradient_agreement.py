import numpy as np
import pytest

from smdsb_jax.gradient_agreement import cosine, gain, leave_one_out, leave_one_out_first_order

G_C, G_O = np.array([1.0, 0.0]), np.array([1.0, 1.0])
S = np.array([[0.0, 1.0], [0.0, -1.0], [-1.0, 1.0]])


def gains(s, g_c=G_C, g_o=G_O):
    return gain(s @ g_o, s @ g_c, (s * s).sum(-1), g_c @ g_o, g_c @ g_c, g_o @ g_o)


def cos(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_values_worked_out_by_hand():
    norms = (S * S).sum(-1)
    np.testing.assert_allclose(cosine(S @ G_C, norms, 1.0), [0, 0, -np.sqrt(0.5)], atol=1e-12)
    np.testing.assert_allclose(cosine(S @ G_O, norms, 2.0), [np.sqrt(0.5), -np.sqrt(0.5), 0], atol=1e-12)
    np.testing.assert_allclose(gains(S), [0.29289322, -0.70710678, 0], atol=1e-8)
    np.testing.assert_allclose(gains(S / 3), [0.18732041, -0.25989319, 0.24157652], atol=1e-8)


def test_a_samples_share_and_its_copies_can_disagree_in_sign():
    s = np.array([[-1.5, 1.0]])
    np.testing.assert_allclose(gains(s), -0.39087902, atol=1e-8)
    np.testing.assert_allclose(gains(s / 3), 0.27347390, atol=1e-8)


def test_leave_one_out_by_its_closed_form_and_directly():
    share = S / 3
    g = G_C + share.sum(0)
    args = (share @ G_O, share @ g, (share * share).sum(-1), g @ G_O, g @ g, G_O @ G_O)
    found = leave_one_out(*args)
    np.testing.assert_allclose(found, [0.24157652, -0.05131670, 0.24157652], atol=1e-8)
    np.testing.assert_allclose(found, [cos(g, G_O) - cos(g - s, G_O) for s in share], atol=1e-12)
    linear = leave_one_out_first_order(args[0], args[1], *args[3:])
    np.testing.assert_allclose(linear, [0.12649111, -0.12649111, 0.18973666], atol=1e-8)
    tiny = 1e-4
    small = leave_one_out(tiny * args[0], tiny * args[1], tiny**2 * args[2], *args[3:])
    np.testing.assert_allclose(small / tiny, linear, atol=1e-3)


@pytest.mark.parametrize("g_o", [np.zeros(2), np.array([1.0, 2.0])])
def test_zero_vectors_give_zero_and_no_nan(g_o):
    zero = np.zeros((2, 2))
    with np.errstate(all="raise"):
        assert (gains(zero, g_c=np.zeros(2), g_o=g_o) == 0).all()
        assert (leave_one_out(zero @ g_o, zero[0], zero[0], 0.0, 0.0, g_o @ g_o) == 0).all()
        assert (leave_one_out_first_order(zero @ g_o, zero[0], 0.0, 0.0, g_o @ g_o) == 0).all()


def test_gain_ignores_the_length_of_the_oracle_gradient():
    np.testing.assert_allclose(gains(S, g_o=1e-6 * G_O), gains(S), atol=1e-12)
