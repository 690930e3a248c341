"""`make package`: packs everything that somebody needs to deploy without Rust, into target/package/.

    package.py [ARCHITECTURE…]      builds the function for these processors (default: arm64 and x86_64), and packs it

The folder has these files:

- for each processor, a zip of the function, and a template that deploys it
- a zip of the layer
- the example of a settings file
- a list of the crates in the function (SBOM, CycloneDX)
- SHA-256 sums of all these files

Equal sources make equal zips. Run this script with the Python that has SAM CLI.
"""

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import yaml
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "target" / "package"
ARCHITECTURES = {"arm64": "aarch64-unknown-linux-gnu", "x86_64": "x86_64-unknown-linux-gnu"}
LAYER = "otp-lambda-config.zip"
RELEASE = "otp-lambda-release.zip"
PARTS = ROOT / "deploy" / "parts"
SBOM = "otp-lambda.cdx.json"

# Rules about values that the function refuses, too, when a new version starts. CloudFormation then takes the update back.
CHECKED_AT_THE_START = [
    "BothDltIdsOrNone",
    "DeliveryEventsHaveAConfigurationSet",
    "ForeignCodesHaveDerivedReferences",
    "SignUpHasReferencesThatNobodyCanCompute",
    "StrangersOnlyWithinLimits",
    "WhatPinpointTakes",
]

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


def scalar(value):
    """A string or number in flow style, quoted only where YAML needs it."""
    if not isinstance(value, str):
        return json.dumps(value)
    if re.fullmatch(r"[\w$/.*+=@();:' -]+", value, re.ASCII):
        try:
            if yaml.safe_load(f"[{value}]") == [value] and not re.fullmatch("(?i)y|n|on|off|yes|no", value):
                return value
        except yaml.YAMLError:
            pass
    quoted = "'" + value.replace("'", "''") + "'"
    return min(json.dumps(value, ensure_ascii=False), quoted, key=len) if "\n" not in value else json.dumps(value)


def flow(value):
    """A part of the template in YAML's flow style, with the short names of CloudFormation's functions."""
    if isinstance(value, list):
        return "[" + ",".join(map(flow, value)) + "]"
    if not isinstance(value, dict):
        return scalar(value)
    if len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Fn::GetAtt" and isinstance(argument, list):
            argument = ".".join(argument)
        if name == "Ref" or name.startswith("Fn::") or (name == "Condition" and isinstance(argument, str)):
            return f"!{name.removeprefix('Fn::')} {flow(argument)}"
    return "{" + ",".join(f"{scalar(name)}: {flow(it)}" for name, it in value.items()) + "}"


def short(template):
    """The template without comments, a line for each parameter, rule, condition, resource and output."""
    lines = []
    for section, entries in template.items():
        if isinstance(entries, dict):
            lines += [f"{section}:", *(f" {scalar(name)}: {flow(it)}" for name, it in entries.items())]
        else:
            lines.append(f"{section}: {flow(entries)}")
    return "\n".join(lines) + "\n"


def folded(pattern):
    """A shorter pattern that accepts the same texts. A list in the pattern has the form `X(,X)*`. The longest list is
    rewritten so that X stands in it only once: each X ends with a comma that another X follows, or with the end of the text."""
    best = pattern
    for begin in re.finditer(r"\(([,;])", pattern):
        for end in re.finditer(r"\)\*(?=(\)\??)?\$$)", pattern):
            item = pattern[begin.end() : end.start()]
            if item and item.count("(") == item.count(")") and pattern[: begin.start()].endswith(item):
                head = pattern[: begin.start() - len(item)]
                best = min(best, f"{head}({item}({begin[1]}(?=.)|$))+{pattern[end.end() :]}", key=len)
    return best


def joined(values):
    """The same values, those that are parameters or resources in one text with separators."""
    names = {
        json.dumps(it): name if isinstance(name, str) else ".".join(name)
        for it in values
        for function, name in it.items()
        if function in ("Ref", "Fn::GetAtt")
    }
    others = [it for it in values if json.dumps(it) not in names]
    return [{"Fn::Sub": ";".join("${%s}" % name for name in names.values())}, *others]


def released(template, architecture):
    """The template that deploys the files beside it, for one processor."""
    template = copy.deepcopy(template)
    resources, parameters = template["Resources"], template["Parameters"]
    # The other processor cannot run this zip.
    parameters["Architecture"].update(Default=architecture, AllowedValues=[architecture])
    for name in ("Function", "Triggers"):
        resources[name].pop("Metadata")
        resources[name]["Properties"]["CodeUri"] = f"otp-lambda-{architecture}.zip"
    resources["Config"]["Properties"]["ContentUri"] = LAYER
    resources["ReleaseFunction"]["Properties"]["Code"] = RELEASE
    for it in resources.values():
        if it["Type"] == "AWS::CloudFormation::Stack":
            it["Properties"]["TemplateURL"] = Path(it["Properties"]["TemplateURL"]).name
    # `sam local invoke` with an emulator is for those who have the sources.
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    for name in [name for name, value in variables.items() if value == {"Ref": "AWS::NoValue"}]:
        variables.pop(name)
    for name in CHECKED_AT_THE_START:
        template["Rules"].pop(name)
    # CloudFormation compares the values of a release with those of the release before, in any form.
    release = resources["Release"]["Properties"]
    release["Values"] = joined(release["Values"])
    # The pages have the rest.
    for it in template["Outputs"].values():
        it.pop("Description")
    for it in template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        it["Label"]["default"] = it["Label"]["default"].split(":")[0]
    for it in parameters.values():
        it["Description"] = re.split(r"(?<=[.]) ", it["Description"].strip())[0].removesuffix(".")
        if "AllowedPattern" in it:
            it["AllowedPattern"] = folded(it["AllowedPattern"])
        # CloudFormation writes "failed to satisfy constraint: " before it.
        if "ConstraintDescription" in it:
            it["ConstraintDescription"] = it["ConstraintDescription"].removeprefix("must be ")
    return template


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
    template = yaml_parse((ROOT / "template.yaml").read_text())
    for architecture, binary in binaries.items():
        zipped(folder / f"otp-lambda-{architecture}.zip", {"bootstrap": (binary.read_bytes(), 0o755)})
        (folder / f"template-{architecture}.yaml").write_text(short(released(template, architecture)))
    files = {file.name: (file.read_bytes(), 0o644) for file in (ROOT / "config").iterdir()}
    zipped(folder / LAYER, files)
    program = template["Resources"]["ReleaseFunction"]["Properties"]["Code"]["ZipFile"]
    zipped(folder / RELEASE, {"index.py": (program.encode(), 0o644)})
    for part in PARTS.iterdir():
        (folder / part.name).write_text(short(yaml_parse(part.read_text())))
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
