"""Write an HTML page about one or more runs: ``darts report runs/search/<run>``.

Keys that people use first::

    Keys: runs/search/<run> out=FILE.html
"""

from __future__ import annotations

from pathlib import Path

from darts.config import ConfigError, Invocation, ReportConfig, launch
from darts.reporting import read_run, render_page
from darts.tracking import print_lines
from darts.writing import write_atomically


def check(config: ReportConfig) -> None:
    """Raise ``ConfigError`` if the configuration is invalid."""
    if not config.runs:
        raise ConfigError("name a run directory, as in darts report runs/search/<run>")
    for run in config.runs:
        if not Path(run).is_dir():
            raise ConfigError(f"{run!r} is not a directory; name a run directory")
    if config.out is not None and Path(config.out).suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"out={config.out!r}: must end in .html")


def report(config: ReportConfig, call: Invocation) -> Path:
    """Write the page, print its path and return it."""
    records = [read_run(Path(run)) for run in config.runs]
    out = Path(config.out) if config.out is not None else Path(config.runs[0]) / "report.html"
    write_atomically(out, render_page(records))
    print_lines(f"wrote {out}")
    return out


def main() -> None:
    """Entry point of ``darts-report``."""
    launch("report", check, report)


if __name__ == "__main__":
    main()
