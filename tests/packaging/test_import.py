"""Importing spikeconv takes nothing but torch, numpy and tqdm, and is light where more is there."""

from __future__ import annotations

import json

OPTIONAL = ("matplotlib", "safetensors", "sklearn", "spikeconv._C", "torchvision", "triton")

WITHOUT = f"""if True:
    import sys
    sys.modules.update(dict.fromkeys({OPTIONAL}))
"""


def test_works_without_every_optional_package(python, tmp_path):
    script = """
    import json, torch, spikeconv
    spikes, _ = spikeconv.if_multistep(torch.ones(2, 3))
    print(json.dumps([spikes.tolist(), spikeconv.backends()]))
    """
    answer = python("-c", WITHOUT + script, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    spikes, backends = json.loads(answer.stdout)
    assert spikes == [[1.0] * 3] * 2
    assert list(backends) == ["reference", "cpp", "triton", "cuda"]
    assert backends["reference"] is None
    assert "extension" in backends["cpp"]
    assert "triton" in backends["triton"] or "CUDA" in backends["triton"]
    assert backends["cuda"]


def test_module_prints_each_backend_without_every_optional_package(python, tmp_path):
    script = """
    import runpy
    sys.argv = ["spikeconv"]
    runpy.run_module("spikeconv", run_name="__main__")
    """
    answer = python("-c", WITHOUT + script, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    for name in ("spikeconv", "torch", "reference", "cpp", "triton", "cuda"):
        assert name in answer.stdout


def test_imports_nothing_that_is_optional(python, tmp_path):
    script = """if True:
        import json, sys, torch
        before = set(sys.modules)
        import spikeconv
        print(json.dumps(sorted({name.split(".")[0] for name in set(sys.modules) - before})))
    """
    answer = python("-c", script, cwd=tmp_path)
    assert not set(json.loads(answer.stdout)) & set(OPTIONAL)
