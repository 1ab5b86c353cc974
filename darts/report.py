"""One page about a run, or several side by side: ``python -m darts.report runs/search/<run>``."""

from __future__ import annotations

from pathlib import Path

from darts.config import ConfigError, Invocation, ReportConfig, launch
from darts.reporting import report_page, read_run
from darts.tracking.files import write_atomically


def check(config: ReportConfig) -> None:
    """Refuse what no type rules out."""
    if not config.runs:
        raise ConfigError("name a run directory, as in python -m darts.report runs/search/<run>")
    for run in config.runs:
        if not Path(run).is_dir():
            raise ConfigError(f"{run!r} is no directory; name one of a run")
    if config.out is not None and Path(config.out).suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"out={config.out!r} must end in .html")


def report(config: ReportConfig, call: Invocation) -> Path:
    """Write the page; returns where it is.

    Raises:
        ValueError: for a directory that is no run's, or a file in it that is damaged.
    """
    records = [read_run(Path(run)) for run in config.runs]
    out = Path(config.out) if config.out is not None else Path(config.runs[0]) / "report.html"
    write_atomically(out, report_page(records))
    print(f"wrote {out}")
    return out


def main() -> None:
    """Entry point of ``darts-report``."""
    launch("report", check, report)


if __name__ == "__main__":
    main()
