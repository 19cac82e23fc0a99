"""Initial potentials, in units of the threshold."""

from __future__ import annotations

import math

INITIAL_POTENTIALS = {"zero": 0.0, "half": 0.5}


def initial_potential(v_init: str | float) -> float:
    """v_init / theta: ``"zero"``, ``"half"`` (OPI, Bu et al., AAAI 2022), or a finite number.

    Under a current that is uniform within each quantisation step the expected error of the mean
    output is (v_init - theta / 2) / T: zero at one half, and only there.

    >>> initial_potential("half")
    0.5
    """
    if isinstance(v_init, str):
        if v_init in INITIAL_POTENTIALS:
            return INITIAL_POTENTIALS[v_init]
    elif isinstance(v_init, int | float) and not isinstance(v_init, bool) and math.isfinite(v_init):
        return float(v_init)
    raise ValueError(
        "convert: v_init must be 'zero', 'half' or a finite number in units of theta, "
        f"got {v_init!r}"
    )
