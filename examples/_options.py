"""The command-line options that all examples share."""

import argparse

HARDWARE = "standard-hwa-2023"


def options(
    description: str | None, *, instances: int = 5, settings: tuple[str, ...] = (), **counts: int
) -> argparse.Namespace:
    """Parse the shared options, and a whole number for each of `counts`.

    `settings` change the default hardware, unless the command line names other hardware or changes.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    add = parser.add_argument
    add("--hardware", default=HARDWARE, help="preset or YAML file (default: %(default)s)")
    add("--set", nargs="*", help="changes of that hardware, such as adc.bits=6")
    add("--times", nargs="+", default=["1 s", "1 h", "1 d", "1 y"], help="times since programming")
    add("--instances", type=int, default=instances, help="chips to program (default: %(default)s)")
    add("--seed", type=int, default=0, help="seed of the chips (default: %(default)s)")
    for name, value in counts.items():
        add(f"--{name}", type=int, default=value, help="default: %(default)s")
    args = parser.parse_args()
    if args.set is None:
        args.set = list(settings) if args.hardware == HARDWARE else []
    return args
