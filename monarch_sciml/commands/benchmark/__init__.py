"""Timing, memory and environment."""

from monarch_sciml.commands.benchmark.machine import Machine as Machine
from monarch_sciml.commands.benchmark.machine import measure_machine as measure_machine
from monarch_sciml.commands.benchmark.measure import Effort as Effort
from monarch_sciml.commands.benchmark.measure import Work as Work
from monarch_sciml.commands.benchmark.measure import compare_calls as compare_calls
from monarch_sciml.commands.benchmark.measure import compare_modules as compare_modules
from monarch_sciml.commands.benchmark.memory import peak_memory as peak_memory
from monarch_sciml.commands.benchmark.timing import Timing as Timing
from monarch_sciml.commands.benchmark.timing import paired_rounds as paired_rounds
from monarch_sciml.evaluation.environment import environment as environment
