"""One thread for small networks, and the same random numbers in every test."""

from tests.fixtures import one_seed as one_seed
from tests.fixtures import one_thread as one_thread
