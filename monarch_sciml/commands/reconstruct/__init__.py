"""The `reconstruct` command: from scans to images, their errors, figures and tables.

`settings` holds the options, `plan` finds the scans and where they go, `batch` does one or many of
them; `pipeline` takes one scan through `undersampling`, `maps`, `reference` and `methods`,
`output_files` writes it and `report` speaks of it.
"""

from monarch_sciml.commands.reconstruct.command import reconstruct as reconstruct
from monarch_sciml.commands.reconstruct.settings import Settings as Settings
