"""`make package`: what somebody needs to deploy without Rust, in target/package/.

    package.py [ARCHITECTURE…]      builds the function for arm64 and x86_64, or for these, and packs it

The folder has a zip of the function for each processor, a zip of the layer, a template for each processor that deploys these
zips, the example of a settings file, a list of the crates in the function (SBOM, CycloneDX), and SHA-256 sums of all of it.
Equal sources make equal zips. Runs with the Python that has SAM CLI.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "target" / "package"
ARCHITECTURES = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
LAYER = "otp-lambda-config.zip"
SBOM = "otp-lambda.cdx.json"

# The oldest time that a zip can have.
TIME = (1980, 1, 1, 0, 0, 0)


class Stop(Exception):
    """A sentence for the person who packs."""


def build(architecture):
    """Builds the function for a processor, and returns the binary."""
    target = ARCHITECTURES[architecture]
    print(f"Building for {architecture} (minutes) …", flush=True)
    built = ROOT / "target" / "package-build" / architecture
    command = ["sam", "build", "--build-dir", built, "--parameter-overrides", f"Architecture={architecture}"]
    if subprocess.run([str(part) for part in command], cwd=ROOT).returncode:
        raise Stop(f"The build failed: see above. If the target is missing: rustup target add {target}")
    return built / "Function" / "bootstrap"


def zipped(file, contents):
    """A zip whose bytes depend on the contents alone: {name: (bytes, mode)}."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, (data, mode) in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, TIME)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, data)


def without_comments(text):
    """The template without comments and empty lines, each level indented by one: the same to YAML, and shorter."""
    lines, levels, block = [], [(0, 0)], None
    for line in text.split("\n"):
        rest = line.lstrip()
        before = len(line) - len(rest)
        if block and (not rest or before >= block):
            # A program in the template keeps its lines and its own indentation.
            lines.append(" " * (levels[-1][1] + 1) + line[block:] if rest else "")
            continue
        block = None
        if not rest or rest.startswith("#"):
            continue
        while levels[-1][0] > before:
            levels.pop()
        if levels[-1][0] < before:
            levels.append((before, levels[-1][1] + 1))
        lines.append(" " * levels[-1][1] + rest)
        while rest.startswith("- "):
            # The keys of an item stand behind its dash.
            rest, levels = rest[2:], [*levels, (levels[-1][0] + 2, levels[-1][1] + 2)]
        if rest.endswith(": |"):
            block = levels[-1][0] + 2
    return "\n".join(lines).rstrip("\n") + "\n"


def released(text, architecture):
    """The template that deploys the zips beside it, for one processor."""
    for before, after in (
        ("    Metadata:\n      BuildMethod: rust-cargolambda\n      BuildProperties:\n        Binary: otp-lambda\n", ""),
        ("CodeUri: .\n", f"CodeUri: otp-lambda-{architecture}.zip\n"),
        ("ContentUri: config/\n", f"ContentUri: {LAYER}\n"),
        ("    Default: arm64\n", f"    Default: {architecture}\n"),
        # The other processor cannot run this zip.
        ("    AllowedValues: [arm64, x86_64]\n", f"    AllowedValues: [{architecture}]\n"),
    ):
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    return without_comments(text)


def sbom():
    """A list of the crates that the function is made of, with versions, licences and checksums."""
    program = os.environ.get("OTP_E2E_CYCLONEDX") or shutil.which("cargo-cyclonedx")
    if not program:
        raise Stop("cargo-cyclonedx is not installed. make package installs it.")
    # It writes beside each manifest of the workspace.
    name = "otp-lambda-package"
    command = [program, "cyclonedx", "--format", "json", "--spec-version", "1.5", "--no-build-deps", "--override-filename", name]
    found = [ROOT / folder / f"{name}.json" for folder in (".", "simulator", "model")]
    try:
        # The processor decides which crates are compiled in, and both have the same.
        subprocess.run([*command, "--target", "aarch64-unknown-linux-gnu"], cwd=ROOT, check=True)
        return json.loads(found[0].read_text())
    finally:
        for file in found:
            file.unlink(missing_ok=True)


def pack(folder, binaries, crates):
    """Writes everything into the folder. `binaries` are the built functions by processor."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = (ROOT / "template.yaml").read_text()
    for architecture, binary in binaries.items():
        zipped(folder / f"otp-lambda-{architecture}.zip", {"bootstrap": (binary.read_bytes(), 0o755)})
        (folder / f"template-{architecture}.yaml").write_text(released(template, architecture))
    files = {file.name: (file.read_bytes(), 0o644) for file in (ROOT / "config").iterdir()}
    zipped(folder / LAYER, files)
    shutil.copyfile(ROOT / "docs" / "settings.example.yaml", folder / "settings.example.yaml")
    (folder / SBOM).write_text(json.dumps(crates, indent=1, ensure_ascii=False) + "\n")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(sums))


def main(architectures):
    try:
        unknown = [it for it in architectures if it not in ARCHITECTURES]
        if unknown:
            raise Stop(f"{unknown[0]} is not a processor of Lambda. Choose of {', '.join(ARCHITECTURES)}.")
        crates = sbom()
        binaries = {it: build(it) for it in architectures or ARCHITECTURES}
        pack(FOLDER, binaries, crates)
    except (Stop, subprocess.CalledProcessError, FileNotFoundError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print("\ntarget/package/ has:")
    for file in sorted(FOLDER.iterdir()):
        print(f"  {file.name}  {file.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
