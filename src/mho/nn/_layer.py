"""What every analog layer shares: its weight matrices on crossbars, and the registry of layers."""

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ..errors import LifecycleError
from ..mapping import Partition, split
from ..ops import differentiable, in_memory
from ..tiles import Dense, Geometry, Hardware, Operand
from ._checkpoint import problems, refuse
from ._chip_instance import gathered
from ._crossbar import Crossbar


class Crossbars(nn.ModuleDict):
    """The crossbars of one module, keyed by the path of their weight with `_` for `.`."""

    def __init__(self, crossbars: dict[str, Crossbar]) -> None:
        super().__init__({path.replace(".", "_"): crossbar for path, crossbar in crossbars.items()})
        self.paths = tuple(crossbars)

    if TYPE_CHECKING:

        def __getitem__(self, key: str) -> Crossbar: ...

    def by_path(self) -> Iterator[tuple[str, Crossbar]]:
        """Yield (path of the weight, crossbar)."""
        for path in self.paths:
            crossbar = self[path.replace(".", "_")]
            assert isinstance(crossbar, Crossbar)
            yield path, crossbar


class Analog(nn.Module):
    """The analog side of a layer class; mixed into the torch class, it holds no state of its own.

    A layer is converted by giving the very same object the analog class, so that its name, hooks,
    Parameters and every reference to it stay as they are.

    A new layer type is one file: a subclass of `Analog` and the torch class that sets `digital`,
    says what goes on arrays (`layouts`), and lowers its forward to its crossbars.
    """

    digital: ClassVar[type[nn.Module]]
    registry: ClassVar[dict[type[nn.Module], type["Analog"]]] = {}
    analog: "Crossbars"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "digital" in vars(cls):
            Analog.registry[cls.digital] = cls

    @staticmethod
    def obstacle(module: nn.Module) -> str | None:
        """Return why this very module cannot be converted, or None."""
        return None

    @staticmethod
    def layouts(module: nn.Module, hardware: Hardware) -> dict[str, Geometry]:
        """Return the geometry of every weight that goes on arrays, by the weight's path."""
        out, rows = attrgetter("weight")(module).shape
        return {"weight": dense(out, rows, hardware)}

    @staticmethod
    def to_matrix(weight: Tensor, geometry: Geometry) -> Tensor:
        """Return a weight Parameter as a matrix (out, rows)."""
        return weight

    @staticmethod
    def from_matrix(matrix: Tensor, like: Tensor, geometry: Geometry) -> Tensor:
        """Return a matrix (out, rows) in the shape of its weight Parameter: `to_matrix` undone."""
        return matrix.reshape(like.shape)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Nothing of a layer is copied unless all of it fits.
        refuse(problems(self, state_dict, prefix))
        for path, crossbar in self.analog.by_path():
            inside = f"{prefix}analog.{path.replace('.', '_')}."
            crossbar.make_room(state_dict, inside, self.get_parameter(path).device)
        super()._load_from_state_dict(state_dict, prefix, *args)


class Site(NamedTuple):
    """A weight matrix of a converted model and where it lives."""

    name: str
    module: nn.Module
    crossbar: Crossbar
    path: str

    @property
    def weight(self) -> nn.Parameter:
        """The Parameter."""
        return attrgetter(self.path)(self.module)

    @property
    def matrix(self) -> Tensor:
        """The weight as a matrix (out, rows); gathered where it is sharded over processes."""
        weight = gathered(self.weight)
        return type(self.module).to_matrix(weight, self.crossbar.geometry)  # pyright: ignore

    def shaped(self, matrix: Tensor) -> Tensor:
        """Return a matrix (out, rows) in the shape and type of the Parameter."""
        like = gathered(self.weight)
        shaped = type(self.module).from_matrix(matrix, like, self.crossbar.geometry)  # pyright: ignore
        return shaped.to(like.dtype)


def sites(model: nn.Module) -> Iterator[Site]:
    """Yield every weight matrix on arrays once, in the model's order."""
    seen: set[int] = set()
    for name, module in model.named_modules():
        if not isinstance(module, Analog):
            continue
        for path, crossbar in module.analog.by_path():
            if id(crossbar) not in seen:
                seen.add(id(crossbar))
                yield Site(f"{name}.{path}" if name else path, module, crossbar, path)


def converted(model: nn.Module) -> list[Site]:
    """Return the weight matrices on arrays; at least one, or an error."""
    found = list(sites(model))
    if not found:
        raise LifecycleError(
            "the model has no analog layer: call mho.convert(model, hardware) first."
        )
    return found


def add_bias(y: Tensor, bias: Tensor | None) -> Tensor:
    """Return y + bias; a crossbar's output is nobody else's, so its memory is reused.

    Autograd needs no product of its own, but compilers and function transforms want no change.
    """
    if bias is None:
        return y
    if bias.dtype != y.dtype or (differentiable(y, bias) and not in_memory(y, bias)):
        return y + bias
    return y.add_(bias)


def biased(
    crossbar: Crossbar,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry | None = None,
    operand: Operand | None = None,
) -> Tensor:
    """Return a crossbar's product plus a bias (out,).

    A digital unit of its own arithmetic adds the bias itself, before it rounds and saturates.
    """
    if not crossbar.hardware.digital.native:
        return crossbar(x, weight, geometry, operand, bias=bias)
    y = crossbar(x, weight, geometry, operand)
    return add_bias(y, None if bias is None else crossbar.geometry.on_outputs(bias))


def partition_of(out: int, rows: int, hardware: Hardware, step: int = 1) -> Partition:
    """Return the partition of a matrix (out, rows).

    `step` rows (the kernel positions of a channel) stay together if an array has room for them.
    """
    array = hardware.array
    if array.rows is not None and step > array.rows:
        step = 1
    return Partition(
        split(rows, array.rows, array.partition, step),
        split(out, array.cols, array.partition),
        array.rows,
        array.cols,
    )


def dense(out: int, rows: int, hardware: Hardware) -> Dense:
    """Return the geometry of a plain matrix (out, rows)."""
    slices = len(hardware.mapping.significance)
    return Dense(out, partition_of(out, rows, hardware), slices)
