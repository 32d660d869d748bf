"""`make bench`: run every benchmark, or the one that is named. Each prints a table and then one JSON line."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
    names = sys.argv[1:] or known
    for name in names:
        if name not in known:
            sys.exit(f"no benchmark {name!r}; there are: {', '.join(known)}")
        print(f"== {name}", flush=True)
        script = str(HERE / f"{name}.py")
        sys.argv = [script]  # what it reads its own options from
        runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
