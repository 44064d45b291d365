"""The `compare` command: several networks, several seeds, one budget, one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from monarch_sciml._checks import UsageError, message, one_of, positive_int, usage_errors
from monarch_sciml.commands.comparison.outputs import write_report_files
from monarch_sciml.commands.comparison.recipe import Contender, LoopOptions
from monarch_sciml.commands.comparison.suitability import check_transfer, mismatch
from monarch_sciml.commands.comparison.trained_run import (
    TrainedRun,
    build_network,
    check_folder_name,
    check_objective,
    describe_run,
    diverged_run,
    run_network,
)
from monarch_sciml.data.spec import DataModule
from monarch_sciml.training import Budget, Objective, RunBusy, TrainingDiverged, check_loggers
from monarch_sciml.training.loading import n_samples_of
from monarch_sciml.training.lock import is_finished
from monarch_sciml.training.processes import from_main_process, is_main_process


def compare_networks(
    data: DataModule,
    networks: dict[str, Contender],
    objective: Objective,
    budget: Budget,
    output: Path,
    seeds: list[int] = [0, 1, 2],  # noqa: B006 - never changed
    baseline: str | None = None,
    title: str = "Comparison",
    only: list[str] | str | None = None,
    evaluate_on: dict[str, DataModule] = {},  # noqa: B006 - never changed
    options: LoopOptions = LoopOptions(),  # noqa: B008 - frozen
    configuration: str = "",
) -> str:
    """Train every network with every seed under one budget, and write one table and one report.

    Writes into `output`: a run directory NETWORK/seed-N for each run, results.csv (a row a run),
    samples.csv (a row a run and test sample), table.md, table.csv, figures/*.png and report.html.
    They hold every finished run in `output`, also those of other calls: several processes may share
    the work with `only` and `seeds`. The processes of one `torchrun` train every network together;
    the first of them writes.

    Parameters
    ----------
    data
        Where the samples come from; the same for all.
    networks
        Name -> network and its optimisation. A network without parameters is measured once.
    objective
        Loss and metrics; the same for all.
    budget
        Epochs and batch size; the same for all.
    output
        The folder of the comparison.
    seeds
        Seeds of initial weights and of the order of the samples.
    baseline
        The network that changes are relative to; the first by default.
    title
        Title of the report.
    only
        Names of the networks to train in this call, as a list or separated by commas; all by
        default.
    evaluate_on
        Name -> further data, as another resolution: every trained network is measured on their test
        samples too, without any training.
    options
        Resuming, precision, logging.
    configuration
        The YAML text that is kept beside the results.

    Returns
    -------
    The table as text, and the path of the report; nothing in further processes of the job.
    """
    check_loggers(options.all_loggers)
    # YAML reads a name like 64 as a number
    networks, evaluate_on = _named(networks), _named(evaluate_on)
    for name in networks:
        check_folder_name("networks", name)
    baseline = next(iter(networks)) if baseline is None else baseline
    if baseline not in networks:
        rule = f"`baseline` must be one of {', '.join(networks)}"
        raise ValueError(message(rule, repr(baseline), "Name a network of the comparison."))
    if from_main_process((output / "results.csv").exists()) and not options.resume:
        remedy = "Name another folder, remove it, or pass --options.resume true."
        rule = "`output` must not hold a comparison yet"
        raise FileExistsError(message(rule, str(output), remedy))
    chosen, seeds = _chosen(networks, only), _checked_seeds(seeds)
    for name, contender in networks.items():  # a mistake in the last must not wait for the first
        build_checked(name, contender, data)
    for name, further in evaluate_on.items():
        check_transfer(name, data.spec, further.spec)
        try:
            n_samples_of(further.test)
        except ValueError as error:
            raise ValueError(f"evaluation set {name}: {error}") from error
    differing = [
        f"Evaluation set {name}: {text}."
        for name, further in evaluate_on.items()
        if (text := mismatch("every network", data.spec, further.spec))
    ]
    check_objective(objective, data.spec)
    n_samples_of(data.test)
    if is_main_process():
        describe_run(output, configuration)  # before the training: an interrupted one can be used
    work = _Work(data, networks, objective, budget, output, configuration, options, evaluate_on)
    runs = work.train([(name, seed) for name in chosen for seed in work.seeds(name, seeds)])
    runs |= work.collect(runs)
    if not runs:
        raise RunBusy(" ".join(work.notes.values()))
    if not is_main_process():
        return ""
    return write_report_files(
        [runs[key] for key in sorted(runs, key=lambda key: (list(networks).index(key[0]), key[1]))],
        data,
        objective,
        budget,
        output,
        baseline=baseline,
        title=title,
        configuration=configuration,
        evaluate_on=evaluate_on,
        notes=[*work.notes.values(), *differing],
    )


def _named(things: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): thing for name, thing in things.items()}


def build_checked(name: str, contender: Contender, data: DataModule) -> nn.Module:
    """Build a network once to see that it can be; errors name it."""
    try:
        model = build_network(contender.network, data, seed=0)
        contender.optimisation.freeze(model)
        return model
    except UsageError as error:
        raise UsageError(f"network {name}: {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"network {name}: {error}") from error


Key = tuple[str, int]
"""Network and seed of a run."""


@dataclass
class _Work:
    """The runs of a comparison, and what there is to say about those that have no result."""

    data: DataModule
    networks: dict[str, Contender]
    objective: Objective
    budget: Budget
    output: Path
    configuration: str
    options: LoopOptions
    evaluate_on: dict[str, DataModule]
    notes: dict[Key, str] = field(default_factory=dict)

    def train(self, keys: Sequence[Key]) -> dict[Key, TrainedRun]:
        """Train, or go on with, the runs of this call; those in other hands are left out."""
        runs = {}
        for key in keys:
            try:
                runs[key] = self._run(key, self.options)
            except RunBusy:
                self._leave_out(key, "another process is training it")
        return runs

    def collect(self, done: dict[Key, TrainedRun]) -> dict[Key, TrainedRun]:
        """Measure the finished runs of other calls; say which ones are not finished."""
        runs = {}
        others = [key for key in from_main_process(list(self._on_disk())) if key not in done]
        for key in others:
            last = self._folder(key) / "checkpoints" / "last"
            if not from_main_process(_is_done(last, self.budget.epochs)):
                if key not in self.notes:
                    self._leave_out(key, "it is not finished")
                continue
            try:
                runs[key] = self._run(key, replace(self.options, resume=True))
            except (RunBusy, ValueError, FileNotFoundError) as error:
                self._leave_out(key, str(error).rstrip("."))
        return runs

    def seeds(self, name: str, seeds: Sequence[int]) -> Sequence[int]:
        """Measure what has nothing to learn once."""
        model = build_network(self.networks[name].network, self.data, seed=0)
        return seeds if any(p.requires_grad for p in model.parameters()) else seeds[:1]

    def _run(self, key: Key, options: LoopOptions) -> TrainedRun:
        name, seed = key
        try:
            run = run_network(
                name,
                self.networks[name],
                data=self.data,
                objective=self.objective,
                budget=self.budget,
                seed=seed,
                output=self._folder(key),
                configuration=_run_configuration(self.configuration, name, seed),
                options=options,
                evaluate_on=self.evaluate_on,
            )
            if run.notes:
                self.notes[key] = f"{_label(key)}: {' '.join(run.notes)}"
            return run
        except TrainingDiverged as error:
            self.notes[key] = f"{_label(key)} diverged: {error}"
            return diverged_run(
                name,
                self.networks[name],
                data=self.data,
                seed=seed,
                output=self._folder(key),
                failure=str(error),
            )

    def _on_disk(self) -> Iterator[Key]:
        """Yield the runs that the folder of the comparison holds, those without result too."""
        for name in self.networks:
            for folder in (self.output / name).glob("seed-*"):
                number = folder.name.removeprefix("seed-")
                if number.isdecimal() and (folder / "checkpoints").is_dir():
                    yield name, int(number)

    def _folder(self, key: Key) -> Path:
        return self.output / key[0] / f"seed-{key[1]}"

    def _leave_out(self, key: Key, why: str) -> None:
        self.notes[key] = f"{_label(key)} is not in the table: {why}."


def _is_done(last: Path, epochs: int) -> bool:
    """Return whether a run is finished; one with damaged checkpoints is not."""
    try:
        return is_finished(last, epochs)
    except ValueError:
        return False


def _label(key: Key) -> str:
    return f"{key[0]}, seed {key[1]}"


def _chosen(networks: dict[str, Contender], only: list[str] | str | None) -> list[str]:
    """Return the names of the networks to train."""
    if only is None:
        return list(networks)
    names = [name.strip() for name in only.split(",")] if isinstance(only, str) else only
    for name in names:
        one_of("only", name, networks)
    if not names:
        rule = "`only` must name networks of the comparison"
        raise ValueError(message(rule, "none", "Leave it out for all."))
    return [name for name in networks if name in names]


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Return the seeds; UsageError when there are none, or one is negative or named twice."""
    with usage_errors():
        checked = [positive_int("seeds", seed, minimum=0) for seed in seeds]
        if not checked or len(set(checked)) < len(checked):
            rule = "`seeds` must name at least one seed, and each once"
            raise ValueError(message(rule, checked, "Pass [0, 1, 2], say."))
    return checked


def _run_configuration(configuration: str, name: str, seed: int) -> str:
    """Cut the configuration of one `train` run out of that of the comparison."""
    everything: dict[str, Any] = yaml.safe_load(configuration) or {}
    contender = everything.pop("networks", {}).get(name, {})
    kept = {key: everything[key] for key in ("data", "objective", "budget") if key in everything}
    return yaml.safe_dump({**kept, **contender, "seed": seed}, sort_keys=False)
