"""Tables, figures and the HTML report."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.evaluation.figures.comparison import cost_figure as cost_figure
from monarch_sciml.evaluation.figures.comparison import metrics_figure as metrics_figure
from monarch_sciml.evaluation.figures.comparison import transfer_figure as transfer_figure
from monarch_sciml.evaluation.figures.errors import bands_figure as bands_figure
from monarch_sciml.evaluation.figures.errors import boundary_figure as boundary_figure
from monarch_sciml.evaluation.figures.errors import spectrum_figure as spectrum_figure
from monarch_sciml.evaluation.figures.fields import error_over_time_figure as error_over_time_figure
from monarch_sciml.evaluation.figures.fields import pair_figure as pair_figure
from monarch_sciml.evaluation.figures.fields import rollout_figure as rollout_figure
from monarch_sciml.evaluation.figures.images import images_figure as images_figure
from monarch_sciml.evaluation.figures.lines import lines_figure as lines_figure
from monarch_sciml.evaluation.figures.lines import spacetime_figure as spacetime_figure
from monarch_sciml.evaluation.figures.reconstructions import (
    reconstruction_figure as reconstruction_figure,
)
from monarch_sciml.evaluation.figures.style import save as save
from monarch_sciml.evaluation.figures.training import training_figure as training_figure
from monarch_sciml.evaluation.figures.training import transform_figure as transform_figure
from monarch_sciml.evaluation.report import write_report as write_report
from monarch_sciml.evaluation.results import count_parameters as count_parameters
from monarch_sciml.evaluation.results import read_rows as read_rows
from monarch_sciml.evaluation.results import write_rows as write_rows
from monarch_sciml.evaluation.samples import samples_table as samples_table
from monarch_sciml.evaluation.summary import NetworkResult as NetworkResult
from monarch_sciml.evaluation.summary import Summary as Summary
from monarch_sciml.evaluation.tables import ComparisonTable as ComparisonTable


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
