"""What the API pages show of our docstrings: equations as text, and what is returned as prose."""

import inspect
import re
import textwrap

from griffe import Docstring, Extension, Function, dynamic_import

_BLOCK = re.compile(r"^\.\. math::(.*)\n((?:[ \t]+\S.*\n|\n(?=[ \t]))*)", flags=re.MULTILINE)
_RETURNS = re.compile(r"^(Returns|Yields)\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}\n|\Z)", flags=re.M | re.S)


def _equation(match: re.Match[str]) -> str:
    lines = [match[1].strip(), *textwrap.dedent(match[2]).splitlines()]
    return "\n```text\n" + "\n".join(line for line in lines if line) + "\n```\n\n"


class PlainDocstrings(Extension):
    """Turn what mkdocs does not know into what it does."""

    def on_instance(self, *, obj, **_: object) -> None:
        """Change the docstring of one function, class or module."""
        if obj.is_alias or obj.docstring is None:
            return
        written = obj.docstring.value
        if any(
            "parameters_of" in str(decorator.value) for decorator in getattr(obj, "decorators", [])
        ):
            written = inspect.getdoc(dynamic_import(obj.path)) or written  # with the added texts
        text = _BLOCK.sub(_equation, written + "\n")
        text = re.sub(r":math:`([^`]+)`", r"`\1`", text)

        def typed(match: re.Match[str]) -> str:
            body = match[2].rstrip("\n")
            if re.search(r"^\S.*\n    ", body):  # a type and an indented description already
                return match[0]
            kind = (
                str(getattr(obj, "returns", None) or "result")
                if isinstance(obj, Function)
                else "result"
            )
            return f"{match[1]}\n{'-' * len(match[1])}\n{kind}\n{textwrap.indent(body, '    ')}\n\n"

        obj.docstring = Docstring(
            _RETURNS.sub(typed, text).rstrip(), parent=obj, lineno=obj.docstring.lineno
        )
