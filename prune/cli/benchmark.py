"""``python -m prune benchmark``: networks timed side by side, or the project's own performance figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.benchmark.settings import SuiteSettings
from prune.cli.verbs import call
from prune.files import BENCHMARKS, check_writable
from prune.options import CHECKPOINT_FLAGS, option


@dataclass(frozen=True)
class BenchmarkOptions(SuiteSettings):
    """Options of ``python -m prune benchmark``."""

    files: tuple[str, ...] = option(
        (),
        "networks to time; the first is the baseline; default: measure the project's own figures",
        positional=True,
        aliases=CHECKPOINT_FLAGS,
    )
    output: str | None = option(
        None,
        "JSON file for the figures; default: bench.json, networks_bench.json or latency.json in the folder of this kind of CPU in "
        "results/benchmarks",
        metavar="FILE",
    )


def _time_files(options: BenchmarkOptions) -> None:
    """Time the named networks; without PyTorch, only exports can be timed."""
    from prune.benchmark.compare import compare_networks
    from prune.benchmark.entries import open_network
    from prune.benchmark.machine import machine_kind, resolved_device

    for name in options.files:  # report a mistake before anything is measured
        open_network(name, options.threads, options.device)
    folder = BENCHMARKS / machine_kind(resolved_device(options.device))
    output = Path(options.output or folder / "latency.json")
    check_writable(output.parent)
    found = compare_networks(options.files, options)
    print("", found, "", *found.write(output), sep="\n")


def _measure_suites(options: BenchmarkOptions) -> None:
    """Measure the project's own figures; those of the default folder go into the tables of all machines."""
    from prune.benchmark.cpu import cpu_kind
    from prune.benchmark.kinds import write_kinds
    from prune.benchmark.suites import measure_suites
    from prune.web.speed import page_speed

    name = "networks_bench.json" if options.suite == "networks" else "bench.json"
    output = Path(options.output or BENCHMARKS / cpu_kind() / name)
    found = measure_suites(options, output, page_speed)
    if options.output is None and output.with_name("deploy.json").is_file():
        write_kinds(BENCHMARKS)
    print("", found, sep="\n")


def run(options: BenchmarkOptions) -> None:
    """Measure and print the table."""
    if options.files:
        _time_files(options)
    elif options.suite == "report":
        from prune.benchmark.kinds import write_kinds

        print(*write_kinds(BENCHMARKS), sep="\n")
    else:
        _measure_suites(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("benchmark", argv)
