"""Weights to conductances: encodings, scaling, and the partition over arrays."""

from ._binary import Binary as Binary
from ._bit_sliced import BitSliced as BitSliced
from ._differential import Differential as Differential
from ._mapping import Mapping as Mapping
from ._offset import Offset as Offset
from ._pairs import Pairs as Pairs
from ._partition import Partition as Partition
from ._partition import partition_counts as partition_counts
from ._partition import split as split
from ._signed import Signed as Signed
from ._single import Single as Single
from ._table import Table as Table
from ._ternary import Ternary as Ternary
