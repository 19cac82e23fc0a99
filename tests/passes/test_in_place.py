"""Operations in place: what reads an overwritten value later reads the new one, as in the ANN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spikeconv.convert import ConversionError
from tests.convert.nets import Net, check, converted, images


def overwritten_by_module(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    y = s.relu(h)
    return s.head(F.relu(s.c2(y + h)))  # h is relu(h) by now


def overwritten_by_function(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    F.relu(h, inplace=True)
    return s.head(F.relu(s.c2(h)))


def overwritten_by_method(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    h.relu_()
    h.mul_(2).add_(0.5)
    h.sub_(0.25).div_(2)
    return s.head(F.relu(s.c2(h)))


def augmented_assignment(s: Net, x: Tensor) -> Any:
    h = g = F.relu(s.c1(x))
    h += 0.5
    h *= s.w
    h -= x[:, :1]
    h /= 2
    return s.head(F.relu(s.c2(h)) + g)  # g is h


def residual(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x))
    out = s.c2(h)
    out += h
    return s.head(s.relu(out))


def dropout_gives_its_input_at_inference(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    y = s.relu(s.dropout(h))
    return s.head(F.relu(s.c2(y + h)))


def identity_and_contiguous(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    y = s.relu(nn.functional.dropout(h.contiguous(), training=False).detach())
    return s.head(F.relu(s.c2(y + h)))


def clone_does_not(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    y = s.relu(h.clone())
    return s.head(F.relu(s.c2(y + h)))


def view_read_only_by_itself(s: Net, x: Tensor) -> Any:
    h = s.relu(s.c1(x).flatten(2))
    return s.fc(h.mean(2))


def halves_apart(s: Net, x: Tensor) -> Any:
    """The parts of a split do not overlap, so writing into one leaves the other."""
    left, right = s.c1(x).chunk(2, 1)
    left = s.relu(left)
    return s.head(F.relu(s.c2(torch.cat([left, right], 1))))


def squeezed(s: Net, x: Tensor) -> Any:
    h = F.relu(s.c1(x)).mean((2, 3), keepdim=True)
    return s.fc(h.squeeze_(3).squeeze_(2).unsqueeze_(1).squeeze(1))


def the_image_itself(s: Net, x: Tensor) -> Any:
    x -= 0.5
    return s.head(F.relu(s.c1(x)) + x[:, :1])


BODIES = [
    (overwritten_by_module, 2),
    (overwritten_by_function, 2),
    (overwritten_by_method, 2),
    (augmented_assignment, 2),
    (residual, 2),
    (dropout_gives_its_input_at_inference, 2),
    (identity_and_contiguous, 2),
    (clone_does_not, 2),
    (view_read_only_by_itself, 1),
    (halves_apart, 2),
    (squeezed, 1),
    (the_image_itself, 1),
]


def in_place(body: Any) -> Net:
    w = nn.Parameter(torch.randn(4, 1, 1))
    return Net(body, relu=nn.ReLU(inplace=True), dropout=nn.Dropout(), w=w)


@pytest.mark.parametrize(("body", "neurons"), BODIES, ids=[body.__name__ for body, _ in BODIES])
def test_means_what_it_meant(body: Any, neurons: int) -> None:
    check(in_place(body), neurons=neurons)


def through_a_slice(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    s.relu(h[:, :2])
    return s.head(F.relu(s.c2(h)))


def under_a_view(s: Net, x: Tensor) -> Any:
    h = s.c1(x)
    flat = h.flatten(1)
    h.mul_(0.5)
    return s.head(F.relu(s.c2(h))) + flat[:, :3]


@pytest.mark.parametrize("body", (through_a_slice, under_a_view))
def test_writing_through_a_view_is_refused_where_it_shows(body: Any) -> None:
    with pytest.raises(ConversionError, match="writes into a part or a view") as refusal:
        converted(in_place(body))
    assert len(refusal.value.problems) == 1


def test_calibration_images_and_input_are_not_written() -> None:
    x = images(8)
    before = x.clone()
    snn = converted(in_place(the_image_itself), x)
    snn(x)
    snn.analog(x)
    assert torch.equal(x, before)
