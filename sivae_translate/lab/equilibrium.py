r"""The KL at which the game of Soft-IntroVAE settles; docs/theory.md derives both formulas.

With k the KL of an image, real or fake, as long as the encoders cannot tell one from the other: the two
expELBOs push k up with scale * beta_neg * exp(-2 scale beta_neg k), and the KL of real images is pulled down
with scale * beta_kl. Both are equal at

.. math:: K_{eq} = \frac{1}{2\,scale\,\beta_{neg}} \ln \frac{\beta_{neg}}{\beta_{kl}}

Reconstruction of real images takes part in the pull: it vanishes at the KL K_0 of the VAE without fakes. If
the error falls with the KL as exp(-2 k / n), as that of n Gaussian numbers does, the game settles at K with

.. math:: \beta_{kl} \left(1 - e^{-2 (K - K_0) / n}\right) = \beta_{neg} e^{-2\,scale\,\beta_{neg} K}
"""

from __future__ import annotations

import math

from scipy.optimize import brentq


def equilibrium_kl(beta_neg: float, beta_kl: float, scale: float) -> float:
    """K_eq in nats, where push and pull are equal.

    Args:
        beta_neg: weight of a fake's KL in the push.
        beta_kl: weight of a real image's KL.
        scale: 1 / (C H W).

    Returns:
        below 0 where the pull is stronger than the push at any KL.

    >>> round(equilibrium_kl(8, 1, 1 / 784), 1)
    101.9
    """
    return math.log(beta_neg / beta_kl) / (2 * scale * beta_neg)


def settled_kl(beta_neg: float, beta_kl: float, scale: float, kl: float, dimensions: float) -> float:
    """K in nats, where the game settles if reconstruction takes part in the pull.

    Args:
        beta_neg: weight of a fake's KL in the push.
        beta_kl: weight of a real image's KL.
        scale: 1 / (C H W).
        kl: K_0, the KL of the VAE without fakes.
        dimensions: n, the number of active dimensions of its code.

    Returns:
        above K_0: it is close to K_0 where K_eq is below it, and to K_eq where that is far above.

    >>> round(settled_kl(8, 1, 1 / 784, 39, 32), 1), round(settled_kl(256, 1, 1 / 784, 39, 32), 1)
    (102.8, 39.0)
    """

    def pull_minus_push(k: float) -> float:
        pull = -beta_kl * math.expm1(-2 * (k - kl) / dimensions)
        return pull - beta_neg * math.exp(-2 * scale * beta_neg * k)

    high = kl + 1.0
    while pull_minus_push(high) < 0:
        high = kl + 2 * (high - kl)
    return float(brentq(pull_minus_push, kl, high))
