"""The `reconstruct` command: from scans to images, their errors, figures and tables.

`settings` holds the options, `plan` finds the scans and where they go, `command` does one or many
of them. `pipeline` takes one scan from its file through undersampling, coil maps and `methods`;
`output_files` writes the images and `report` the text.
"""

from monarch_sciml.commands.reconstruct.command import reconstruct as reconstruct
from monarch_sciml.commands.reconstruct.settings import Settings as Settings
