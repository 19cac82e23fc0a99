"""Without a GPU Triton's kernels run in its interpreter: with int32 that wraps, as on a GPU."""

from tests.fixtures import int32_wraps as int32_wraps
