"""Write `deploy/install.yaml`, the Helm chart, and the page of the operator's permissions: all from `plan/install/`."""

import sys
from pathlib import Path

from outrider.plan.install.chart import chart_files
from outrider.plan.install.pages import install_yaml, permissions_page

ROOT = Path(__file__).resolve().parents[1]


def files() -> dict[str, str]:
    """All generated files by their paths in the repository."""
    chart = {f"deploy/helm/outrider/{path}": text for path, text in chart_files().items()}
    return {"deploy/install.yaml": install_yaml(), "docs/guide/permissions.md": permissions_page(), **chart}


if __name__ == "__main__":
    for path, text in files().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
