"""Write report.html of a training run again: one HTML file that loads nothing from elsewhere.

python -m cyclegan.report RUN
"""

from __future__ import annotations

import argparse
import sys

from cyclegan.report.run_report import write_report
from cyclegan.report.runlog import RecordError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cyclegan.report", description=__doc__.splitlines()[0]
    )
    parser.add_argument("run", metavar="RUN", help="folder that train.py wrote")
    try:
        print(write_report(parser.parse_args(arguments).run))
    except RecordError as error:
        print(f"report: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
