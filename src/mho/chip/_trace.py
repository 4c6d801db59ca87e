"""The graph of an actual forward pass."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..deploy import evaluating
from ..errors import DataError
from ..nn import Crossbar, converted
from ..tiles import Convolution, Geometry
from . import _operations as operations
from ._graph import Edge, Graph, Node, Window


class Origin(NamedTuple):
    """Where the numbers in a storage come from, and whether they come place by place."""

    nodes: frozenset[int]
    streams: bool


def _storage(x: Tensor) -> int:
    return x.untyped_storage()._cdata


class Tracer(TorchDispatchMode):
    """Records what every operation of a forward pass needs and makes.

    A crossbar is one node whatever it computes inside. Storages tell what was made by whom, so
    that views cost nothing; all of them are kept, so that no memory is used twice.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.graph = Graph()
        self.origins: dict[int, Origin] = {}
        self.kept: list[Any] = []
        self.inside = 0
        self.cached: set[tuple[int, Any]] = set()
        self.repeats: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.path: list[str] = []
        owned = [*model.parameters(), *model.buffers()]
        self.weights = {_storage(x) for x in owned}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not self.inside:
            self._record(func, args, kwargs or {}, out)
        return out

    def _record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        made = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
        if not inputs or not made:
            return
        name = operations.full_name(func, args)
        changes = func._schema.is_mutable
        known = {_storage(x) for x in inputs}
        if not changes and all(_storage(x) in known for x in made):
            return  # a view
        if operations.creates(name):
            return
        self.kept += made
        if changes:  # a buffer that is written to, such as a cache, is no weight
            self.weights -= {_storage(x) for x in made}
        if not made[0].is_floating_point() and not made[0].is_complex():
            self._set(made, self._joined(inputs, streams=False))
        elif operations.is_product(name):
            self._product(name, args, made[0])
        elif name in ("embedding", "_embedding_bag"):
            edges = self._edges(inputs[1:], stream=False)
            node = self._node(
                name, edges, made[0], weights=made[0].numel(), layout="dense",
                positions=_places(made[0], "dense"),
            )  # fmt: skip
            self._set(made, Origin(frozenset({node.index}), True))
        elif operations.moves(name):
            keeps = operations.keeps_order(name) and inputs[0].is_contiguous()
            self._set(made, self._joined(inputs, streams=keeps))
            if operations.repeats(name):
                factor = made[0].numel() // self._distinct(inputs[0])
                self.repeats[_storage(made[0])] = max(1, factor)
        else:
            self._arithmetic(name, args, inputs, made)

    def _joined(self, inputs: list[Tensor], streams: bool) -> Origin:
        found = [self.origins[s] for x in inputs if (s := _storage(x)) in self.origins]
        nodes = frozenset().union(*(origin.nodes for origin in found))
        return Origin(nodes, streams and all(origin.streams for origin in found))

    def _set(self, made: list[Tensor], origin: Origin) -> None:
        for x in made:
            self.origins[_storage(x)] = origin

    def _distinct(self, x: Tensor) -> int:
        """Return how many numbers a tensor has: fewer than elements, where they are repeated."""
        sizes = [n for n, stride in zip(x.shape, x.stride(), strict=True) if stride]
        return max(1, prod(sizes) // self.repeats.get(_storage(x), 1))

    def _edges(self, inputs: list[Tensor], stream: bool, layout: str | None = None) -> list[Edge]:
        """Return what a node needs of activations; several tensors may share a source."""
        need: dict[int | None, tuple[int, bool]] = {}
        for x in inputs:
            storage = _storage(x)
            if storage in self.weights or not x.is_floating_point():
                continue
            origin = self.origins.get(storage, Origin(frozenset(), True))
            sizes = {n: max(1, self.graph.nodes[n].outputs) for n in sorted(origin.nodes)}
            for source, size in sizes.items() or ((None, 1),):
                flows = stream and origin.streams and x.is_contiguous()
                if source is not None:
                    node = self.graph.nodes[source]
                    flows = flows and node.layout == layout and x.numel() == node.outputs
                before, flowed = need.get(source, (0, True))
                share = -(-self._distinct(x) * size // max(1, sum(sizes.values())))
                need[source] = (before + share, flowed and flows)
        for source, (count, flows) in list(need.items()):
            made = count if source is None else self.graph.nodes[source].outputs
            if count > made:  # the rest was there before: keys and values of earlier tokens
                need[source] = (made, flows)
                need[None] = (need.get(None, (0, True))[0] + count - made, False)
        return [Edge(source, count, flows) for source, (count, flows) in need.items()]

    def _node(self, name: str, edges: list[Edge], out: Tensor, **values: Any) -> Node:
        if "site" not in values:
            where = next((path for path in reversed(self.path) if path), "")
            name = f"{where} {operations.plain(name)}".strip()
            self.names[name] = self.names.get(name, 0) + 1
            name += f" {self.names[name]}" if self.names[name] > 1 else ""
        node = Node(len(self.graph), name, edges, out.numel(), **values)
        self.graph.nodes.append(node)
        return node

    def _product(self, name: str, args: Any, out: Tensor) -> None:
        count, pairs = operations.multiply_adds(name, args, out)
        flowing, staying = operations.operands(name, args)
        weights = cache = 0
        for x in staying:
            if _storage(x) in self.weights:
                weights += x.numel()
            elif (_storage(x), x.storage_offset()) not in self.cached:
                self.cached.add((_storage(x), x.storage_offset()))
                cache += self._distinct(x)
        multiply, add = operations.softmax_of(pairs)
        layout = "conv" if name.endswith("convolution") else "dense"
        edges = self._edges([*flowing, *staying], stream=False)
        node = self._node(
            name, edges, out, layout=layout, weights=weights, cache=cache,
            multiplications=count + multiply, additions=count + add,
        )  # fmt: skip
        self._set([out], Origin(frozenset({node.index}), True))

    def _arithmetic(self, name: str, args: Any, inputs: list[Tensor], made: list[Tensor]) -> None:
        multiply, add = operations.arithmetic(name, args, inputs, made[0].numel())
        sources = [x for x in inputs if _storage(x) not in self.weights]
        owner = self._owner(name, sources, made[0])
        if owner is not None:
            owner.multiplications += multiply
            owner.additions += add
            self._set(made, Origin(frozenset({owner.index}), True))
            return
        layouts = {
            self.graph.nodes[n].layout
            for x in sources
            for n in self.origins.get(_storage(x), Origin(frozenset(), True)).nodes
        }
        layout = layouts.pop() if len(layouts) == 1 else None
        out = made[0]
        window = operations.pool_window(name, args, inputs[0], out) if layout == "conv" else None
        streams = window is not None or operations.pointwise(name, args, inputs[0], out, layout)
        edges = self._edges(sources, stream=layout is not None and streams, layout=layout)
        places = _places(out, layout)
        if not edges and not out.numel():
            return
        node = self._node(
            name,
            edges,
            out,
            layout=layout,
            positions=places,
            window=window,
            multiplications=multiply,
            additions=add,
        )
        self._set(made, Origin(frozenset({node.index}), True))

    def _owner(self, name: str, sources: list[Tensor], out: Tensor) -> Node | None:
        """Return the product on arrays whose core does this operation itself, if one does."""
        if not operations.local(name) or len(sources) != 1 or sources[0].numel() != out.numel():
            return None
        origin = self.origins.get(_storage(sources[0]))
        if origin is None or len(origin.nodes) != 1 or not origin.streams:
            return None
        node = self.graph.nodes[next(iter(origin.nodes))]
        return node if node.site is not None and node.outputs == out.numel() else None

    def product_on_arrays(self, crossbar: Crossbar, name: str, x: Tensor, y: Tensor) -> None:
        """Note one product of a crossbar."""
        geometry = crossbar.geometry
        conv = isinstance(geometry, Convolution)
        layout = "conv" if conv else "dense"
        self.kept += [x, y]
        vectors = y.numel() // geometry.out
        if not vectors:
            raise DataError(
                f"the example gives {name} no input vector (its input is {tuple(x.shape)}): give "
                "at least one, such as torch.zeros(1, ...)."
            )
        around = conv and geometry.mode in ("circular", "reflect")  # first rows need the last ones
        edges = self._edges([x], stream=not around, layout=layout)
        node = self._node(
            name, edges, y, layout=layout, positions=vectors, vectors=vectors, site=name,
            geometry=geometry, window=_window(geometry, x, y) if conv else None,
        )  # fmt: skip
        self._set([y], Origin(frozenset({node.index}), True))


def _window(geometry: Convolution, x: Tensor, y: Tensor) -> Window:
    """Return the rows of pixels that the kernel covers, of the first axis that has several."""
    axis = next((k for k, n in enumerate(x.shape[2:]) if n > 1), 0)
    stride, before = geometry.stride[axis], geometry.padding[axis][0]
    rows = (x.shape[0], y.shape[2 + axis], x.shape[2 + axis])
    if geometry.transposed:
        return Window(*rows, 1, before, stride)
    return Window(*rows, stride, geometry.dilation[axis] * (geometry.kernel[axis] - 1) - before)


def _places(out: Tensor, layout: str | None) -> int:
    if layout == "conv" and out.dim() > 2:
        return max(1, out.numel() // out.shape[1])
    if layout == "dense" and out.dim() > 1:
        return max(1, out.numel() // out.shape[-1])
    return 1


@contextmanager
def _watched(model: nn.Module, tracer: Tracer) -> Iterator[None]:
    """Let the tracer know when a crossbar begins and ends."""
    names = {id(site.crossbar): site.name for site in converted(model)}

    def begins(module: nn.Module, args: Any) -> None:
        tracer.inside += 1

    def ends(module: nn.Module, args: Any, out: Tensor) -> None:
        tracer.inside -= 1
        assert isinstance(module, Crossbar)
        tracer.product_on_arrays(module, names[id(module)], args[0], out)

    def enters(name: str) -> Any:
        return lambda module, args: tracer.path.append(name)

    def leaves(module: nn.Module, args: Any, out: Any) -> None:
        tracer.path.pop()

    hooks = []
    for name, module in model.named_modules():
        if not isinstance(module, Crossbar):
            hooks.append(module.register_forward_pre_hook(enters(name)))
            hooks.append(module.register_forward_hook(leaves))
    for site in converted(model):
        hooks.append(site.crossbar.register_forward_pre_hook(begins))
        hooks.append(site.crossbar.register_forward_hook(ends))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _exact(model: nn.Module) -> Iterator[None]:
    """Let every crossbar multiply exactly, product by product, whatever its arrays are like.

    An observer would do, but recurrent layers show it all steps at once.
    """
    found = [site.crossbar for site in converted(model)]
    for crossbar in found:
        crossbar.forward = partial(_product, crossbar)
        crossbar.operand = lambda weight, present=None: _PREPARED  # pyright: ignore
    try:
        yield
    finally:
        for crossbar in found:
            del crossbar.forward, crossbar.operand


_PREPARED = object()
"""What arrays are prepared to here: nothing."""


def _product(
    crossbar: Crossbar,
    x: Tensor,
    weight: Tensor,
    geometry: Geometry | None = None,
    operand: Any = None,
    bias: Tensor | None = None,
) -> Tensor:
    y = crossbar.exact(x, weight, geometry)
    return y if bias is None else y + crossbar.geometry.on_outputs(bias.to(y.dtype))


def run(model: nn.Module, example: Any) -> Any:
    """Call a model with an example: a tensor, arguments in a tuple, or a mapping of keywords."""
    if isinstance(example, Mapping):
        return model(**example)
    if not isinstance(example, tuple | list):
        return model(example)
    try:
        inspect.signature(model.forward).bind(*example)
    except TypeError as error:
        raise DataError(
            f"the example is a {type(example).__name__} of {len(example)}, which the model's "
            f"forward does not take ({error}): give its inputs only, without labels."
        ) from None
    return model(*example)


def trace(model: nn.Module, example: Any) -> Graph:
    """Return the graph of a converted model for one example.

    The arrays multiply exactly meanwhile, so nothing need be calibrated or programmed. On the meta
    device nothing is computed at all.

    Raises:
        DataError: the example is no input, or no array was used.
    """
    if not any(isinstance(x, Tensor) for x in tree_leaves(example)):
        raise DataError(
            f"example must be a tensor, a tuple or a mapping of tensors that the model takes, got "
            f"{type(example).__name__}."
        )
    tracer = Tracer(model)
    before = torch.backends.mha.get_fastpath_enabled()
    onednn = torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    torch._C._set_mkldnn_enabled(False)  # a fused kernel would hide its operations
    try:
        exactly = (evaluating(model), _exact(model), _watched(model, tracer))
        with exactly[0], exactly[1], exactly[2], torch.no_grad(), tracer:
            run(model, example)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        torch._C._set_mkldnn_enabled(onednn)
    if not tracer.graph.products:
        raise DataError("the example reached no array: no layer on arrays was called.")
    _add_output(tracer.graph)
    return tracer.graph


def _add_output(graph: Graph) -> None:
    """Let what nobody needs any more go to the memory: it is the model's output."""
    needed = {edge.source for node in graph for edge in node.edges}
    last = [node for node in graph if node.index not in needed]
    layouts = {node.layout for node in last}
    places = last[0].positions if len(last) == 1 else 1
    edges = [Edge(node.index, node.outputs, places > 1) for node in last]
    layout = layouts.pop() if len(layouts) == 1 else None
    graph.nodes.append(Node(len(graph), "output", edges, 0, positions=places, layout=layout))
