"""The `reconstruct` command: from scans to images, their errors, figures and tables.

`command` reads the options, `scan` takes one scan through `undersampling`, `maps`, `reference` and
`methods`, `files` writes it, `report` speaks of it; `plan`, `batch` and `summary` are for many.
"""

from monarch_sciml.commands.reconstruct.command import reconstruct as reconstruct
