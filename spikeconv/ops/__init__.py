"""The operators: schema, checks, reference and backends. Only here stands "spikeconv::"."""

from spikeconv.ops.backends import backends
from spikeconv.ops.if_multistep import if_multistep

__all__ = ["backends", "if_multistep"]
