"""Values, units, rules and the shelf of presets: the ground that everything stands on."""

from ._codec import diff as diff
from ._codec import override as override
from ._codec import to_dict as to_dict
from ._codec import to_json as to_json
from ._codec import to_yaml as to_yaml
from ._explain import explain as explain
from ._explain import lines as explain_lines
from ._presets import Document as Document
from ._presets import document as document
from ._presets import presets as presets
from ._rules import Predicate as Predicate
from ._rules import Rules as Rules
from ._rules import named as named
from ._rules import of_type as of_type
from ._schema import json_schema as json_schema
from ._spec import Spec as Spec
from ._spec import Variant as Variant
from ._table import render_table as render_table
from ._units import Ohms as Ohms
from ._units import Seconds as Seconds
from ._units import Siemens as Siemens
from ._units import Volts as Volts
from ._units import format_quantity as format_quantity
from ._units import format_seconds as format_seconds
from ._units import parse as parse
from ._units import seconds as seconds
