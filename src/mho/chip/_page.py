"""A page of a cost estimate that needs no other file."""

from typing import TYPE_CHECKING

from ..deploy import as_image
from ..spec import format_quantity
from ._constant import SCENARIOS
from ._figures import constants

if TYPE_CHECKING:
    from ._cost_result import Cost

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right;vertical-align:top}
th:first-child,td:first-child,td:last-child{text-align:left}img{max-width:100%}</style></head><body>
<h1>{{ title }}</h1><img alt="timeline, energy and floor plan" src="{{ image }}">
{% for caption, header, rows in tables %}<h2>{{ caption }}</h2>
<table><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}</body></html>"""


def cost_page(cost: "Cost") -> str:
    """Return the page: plot, figures, matrices, sensitivities, and every constant's source."""
    from jinja2 import Environment

    figures = [
        (row["figure"], *(format_quantity(row[s], row["unit"]) for s in SCENARIOS))
        for row in cost.rows()
    ]
    layers = [
        (
            row["matrix"], row["vectors"], row["copies"],
            *(format_quantity(row[name], unit) for name, unit in
              (("vector_seconds", "s"), ("vector_joules", "J"), ("seconds", "s"), ("joules", "J"))),
        )
        for row in cost.layers()
    ]  # fmt: skip
    strongest = sorted(cost.elasticities, key=lambda e: -e.strength)
    sources = {path: constant for path, constant in constants(cost.chip)}
    tables = [
        ("Figures of one input", ("figure", *SCENARIOS), figures),
        ("Also", ("figure", "value"), cost.facts()),
        ("Matrices", ("matrix", "vectors", "copies", "time of a vector", "energy of a vector",
                      "time", "energy"), layers),
        ("For 1 % more of a constant", ("constant", "value", "latency [%]", "energy [%]", "source"),
         [(e.constant, f"{sources[e.constant].value:g} {sources[e.constant].unit}",
           f"{e.latency:+.3f}", f"{e.energy:+.3f}", e.source) for e in strongest]),
    ]  # fmt: skip
    title = f"{len(cost.placement.by_site)} matrices on {cost.chip.core.count} cores"
    environment = Environment(autoescape=True)
    page = environment.from_string(_PAGE)
    return page.render(title=title, image=as_image(cost.plot()), tables=tables)
