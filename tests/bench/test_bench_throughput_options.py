"""bench/throughput.py: what it cannot honour is an error, not left out."""

import pytest


@pytest.fixture(scope="module")
def throughput(load_script):
    return load_script("throughput")


def test_bad_numbers_are_refused(throughput, capsys):
    for flag in ("--T", "--batch", "--rounds", "--threads", "--image-size"):
        with pytest.raises(SystemExit):
            throughput.main([flag, "0"])
        assert f"argument {flag}: wanted a whole number of 1 or more" in capsys.readouterr().err


def test_what_cannot_be_honoured_is_refused(throughput, capsys):
    with pytest.raises(SystemExit):
        throughput.main(["--weights", "w.pt"])
    assert "--weights is of one network, so give --model too" in capsys.readouterr().err
    assert throughput.main(["--smoke", "--image-size", "8", "--contestants", "nobody"]) == 1
    assert "--contestants: wanted some of ann, " in capsys.readouterr().err
