"""The command-line options that all examples share."""

import argparse


def options(description: str | None, *, instances: int = 5, **counts: int) -> argparse.Namespace:
    """Parse `--hardware`, `--times`, `--instances`, `--seed`, and a whole number for each count."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    add = parser.add_argument
    add(
        "--hardware", default="standard-hwa-2023", help="preset or YAML file (default: %(default)s)"
    )
    add("--times", nargs="+", default=["1 s", "1 h", "1 d", "1 y"], help="times since programming")
    add("--instances", type=int, default=instances, help="chips to program (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the chips (default: %(default)s)")
    for name, value in counts.items():
        add(f"--{name}", type=int, default=value, help="default: %(default)s")
    return parser.parse_args()
