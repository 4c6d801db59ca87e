"""Errors: each names the value at fault, what is allowed, and what to do next."""


class MhoError(Exception):
    """Base of every error that mho raises on purpose."""


class SpecError(MhoError, ValueError):
    """A hardware description has a wrong key, unit, range or combination."""


class PresetError(MhoError, ValueError):
    """A preset or hardware file is missing, unreadable or corrupt."""


class ConversionError(MhoError, ValueError):
    """A module cannot be put on analog hardware as asked."""


class LifecycleError(MhoError, RuntimeError):
    """A verb came too early: calibrate, program, at and compensate have an order."""


class RangeError(MhoError, ValueError):
    """A number lies outside the range in which a law or an argument has a meaning."""


class DataError(MhoError, ValueError):
    """Data is empty, not finite, or of a wrong shape."""


class CheckpointError(MhoError, RuntimeError):
    """A checkpoint belongs to another shape or another hardware."""


class CapacityError(MhoError, ValueError):
    """A model needs more arrays, cores or memory than a chip has."""
