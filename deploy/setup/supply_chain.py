"""What the product consists of, and whether any of it is known to be vulnerable: by the lock file, not by what is installed.

python deploy/setup/supply_chain.py sbom     # dist/ftpgate-VERSION.cdx.json, CycloneDX 1.6; needs no network
python deploy/setup/supply_chain.py audit    # asks the package index for advisories
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
UNREACHABLE = 3
"""Exit status when nothing could be asked; 1 says that something is vulnerable."""


def main() -> int:
    parser = argparse.ArgumentParser(description="An SBOM of the pinned packages, or an audit of them.")
    parser.add_argument("what", choices=("sbom", "audit"))
    return {"sbom": sbom, "audit": audit}[parser.parse_args().what]()


def sbom() -> int:
    """Write the software bill of materials; the same for the same lock file."""
    project = ROOT / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    target = ROOT / "dist" / f"ftpgate-{version}.cdx.json"
    target.parent.mkdir(exist_ok=True)
    options = ["--pyproject", str(project), "--mc-type", "application", "--spec-version", "1.6", "--short-PURLs"]
    options += ["--output-reproducible", "--output-format", "JSON", "--output-file", str(target)]
    quiet = ("-W", "ignore")  # a lock file does not tell what depends on what, and the tool regrets it
    done = subprocess.run([sys.executable, *quiet, "-m", "cyclonedx_py", "requirements", *options, str(LOCK)], check=False)
    if not done.returncode:
        print(target)
    return done.returncode


def audit() -> int:
    """Look for advisories of the pinned versions. Nothing is installed, and no dependency is resolved anew."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
    done = subprocess.run([*command, "--progress-spinner=off"], capture_output=True, text=True, check=False)
    if done.returncode and any(sign in done.stderr for sign in ("requests.exceptions.", "Could not connect")):
        cause = done.stderr.strip().splitlines()[-1].partition("(")[0]
        print(f"audit: nothing was checked, the advisories cannot be reached ({cause})", file=sys.stderr)
        print("audit: run it where the package index answers; it needs nothing but requirements.lock", file=sys.stderr)
        return UNREACHABLE
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
