"""Counting right answers, and the time-steps worth a row."""

from __future__ import annotations

from torch import Tensor


def correct(logits: Tensor, labels: Tensor, function: str = "correct") -> Tensor:
    """Count the images whose largest logit is the labelled class.

    Args:
        logits: ``[*, B, classes]``, such as ``[B, classes]`` or ``[T, B, classes]``.
        labels: int64 ``[B]``.
        function: what errors say was called.

    Returns:
        int64 ``[*]``: right answers among the B images.

    Raises:
        ValueError: the number of images differs, or a label is not one of the classes.

    Example:
        >>> import torch
        >>> correct(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])).item()
        1
    """
    if logits.dim() < 2 or labels.dim() != 1 or logits.shape[-2] != labels.shape[0]:
        raise ValueError(
            f"{function}: logits must be [*, B, classes] and labels [B], "
            f"got {list(logits.shape)} and {list(labels.shape)}"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < logits.shape[-1]:
        raise ValueError(
            f"{function}: labels must be in 0..{logits.shape[-1] - 1} (the classes of the logits), "
            f"got {int(labels.min())}..{int(labels.max())}"
        )
    return (logits.argmax(-1) == labels).sum(-1)


def steps_to_show(T: int) -> list[int]:
    """Return the powers of two up to T, and T itself: the rows of a table.

    Example:
        >>> steps_to_show(20)
        [1, 2, 4, 8, 16, 20]
    """
    powers = [1 << i for i in range(T.bit_length()) if 1 << i <= T]
    return powers if powers[-1] == T else [*powers, T]
