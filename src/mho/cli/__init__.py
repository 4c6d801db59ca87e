"""The command `mho`: everything it does, it does through the public door of the library."""

from ._app import main as main
