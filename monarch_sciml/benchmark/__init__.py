"""Timing, memory and environment."""

from monarch_sciml.benchmark.compare import Effort as Effort
from monarch_sciml.benchmark.compare import Work as Work
from monarch_sciml.benchmark.compare import compare_calls as compare_calls
from monarch_sciml.benchmark.compare import compare_modules as compare_modules
from monarch_sciml.benchmark.environment import environment as environment
from monarch_sciml.benchmark.machine import Machine as Machine
from monarch_sciml.benchmark.machine import measure_machine as measure_machine
from monarch_sciml.benchmark.memory import peak_memory as peak_memory
from monarch_sciml.benchmark.timing import Timing as Timing
from monarch_sciml.benchmark.timing import paired_rounds as paired_rounds
