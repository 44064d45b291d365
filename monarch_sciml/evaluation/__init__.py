"""Tables, figures and the HTML report."""

from monarch_sciml.evaluation._style import save as save
from monarch_sciml.evaluation.figures_images import images_figure as images_figure
from monarch_sciml.evaluation.figures_mri import detailed_square as detailed_square
from monarch_sciml.evaluation.figures_mri import reconstruction_figure as reconstruction_figure
from monarch_sciml.evaluation.figures_pde import error_over_time_figure as error_over_time_figure
from monarch_sciml.evaluation.figures_pde import rollout_figure as rollout_figure
from monarch_sciml.evaluation.figures_training import training_figure as training_figure
from monarch_sciml.evaluation.figures_training import transform_figure as transform_figure
from monarch_sciml.evaluation.report import write_report as write_report
from monarch_sciml.evaluation.results import count_parameters as count_parameters
from monarch_sciml.evaluation.results import read_rows as read_rows
from monarch_sciml.evaluation.results import write_rows as write_rows
from monarch_sciml.evaluation.summary import NetworkResult as NetworkResult
from monarch_sciml.evaluation.summary import Summary as Summary
from monarch_sciml.evaluation.tables import ComparisonTable as ComparisonTable
