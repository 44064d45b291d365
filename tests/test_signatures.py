"""Documentation that is put together: every parameter once, in the order of the signature."""

import inspect
from dataclasses import dataclass

from monarch_sciml._signatures import arguments, describe, documentation, parameters_of


@dataclass
class Shared:
    """Hold what all share.

    Parameters
    ----------
    output
        A folder.
    rounds
        How many rounds.

        The default suits most.
    device
        A device.
    """

    output: str
    rounds: int = 5
    device: str = "cpu"


def first(size, a=1, b=2, *, norm="ortho"):
    """Do one thing.

    Parameters
    ----------
    size
        Size of the first.
    a, b
        Both numbers.
    norm
        Scaling, as in
        torch.

    Raises
    ------
    ValueError
        When it is wrong.
    """


@parameters_of(first)
def second(size, b=2, other=3, norm="ortho"):
    """Do another thing.

    With two lines.

    Parameters
    ----------
    other
        Only here.
    size
        Size of the second.

    Notes
    -----
    Nothing.
    """


def test_parameters_of_another_function_are_added_in_order():
    assert second.__doc__ == (
        "Do another thing.\n\nWith two lines.\n\n"
        "Parameters\n----------\n"
        "size\n    Size of the second.\n"
        "b\n    Both numbers.\n"
        "other\n    Only here.\n"
        "norm\n    Scaling, as in\n    torch.\n\n"
        "Notes\n-----\nNothing.\n"
    )


def test_a_function_without_parameters_of_its_own_gets_them():
    @parameters_of(first)
    class Third:
        """Hold."""

        def __init__(self, a, norm):
            self.a, self.norm = a, norm

    expected = "Parameters\n----------\na\n    Both numbers.\nnorm\n    Scaling, as in\n    torch."
    assert Third.__doc__ == f"Hold.\n\n{expected}\n"


def test_a_function_of_two_sources_has_one_signature_and_one_documentation():
    def run(*args, **kwargs):
        return args, kwargs

    shared = [item for item in arguments(Shared, {"rounds": 7}) if item.name != "device"]
    own = [item for name, item in inspect.signature(first).parameters.items() if name == "norm"]
    names = [item.name for item in shared]
    text = documentation([first.__doc__], ["norm"], Shared.__doc__, names, "Returns\n-------\nx")
    describe(run, own, shared, text, str)
    assert str(inspect.signature(run)) == "(output: str, *, norm='ortho', rounds: int = 7) -> str"
    places = [run.__doc__.index(part) for part in ("norm\n", "output\n", "rounds\n", "Returns\n")]
    assert places == sorted(places) and "device" not in run.__doc__
    assert "The default suits most." in run.__doc__ and "Raises\n---" in run.__doc__
