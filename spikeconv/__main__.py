"""python -m spikeconv: the command `spikeconv`; alone, versions and what backends can run."""

import sys

from spikeconv.cli import main

sys.exit(main())
