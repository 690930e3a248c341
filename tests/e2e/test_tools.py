"""Tests of the scripts that ask for tools and start containers, with programs that stand in for the real ones.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_tools.py
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What the scripts themselves use.
USUAL = "bash sh env dirname basename sed head cat tail grep cut find ls mkdir uname cksum rm mv cp chmod tr sleep seq make".split()


def programs(folder, **stand_ins):
    """A folder for PATH with the usual programs, and with scripts in place of others."""
    folder.mkdir(exist_ok=True)
    for name in USUAL:
        if name not in stand_ins and not (folder / name).exists():
            (folder / name).symlink_to(shutil.which(name))
    for name, script in stand_ins.items():
        # A link leads to the program of the system, which must stay as it is.
        (folder / name).unlink(missing_ok=True)
        with open(folder / name, "x") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_a_stand_in_leaves_the_program_of_the_system_alone(tmp_path):
    system = tmp_path / "system"
    system.write_text("the real one")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uname").symlink_to(system)
    programs(tmp_path / "bin", uname="echo Darwin")
    assert system.read_text() == "the real one"
    assert not (tmp_path / "bin" / "uname").is_symlink()


def needs(path, *names):
    environment = {"PATH": path, "HOME": os.devnull}
    return subprocess.run([ROOT / "tests/needs.sh", *names], capture_output=True, text=True, env=environment)


WAYS = {
    "rust": ("Rust (cargo)", "https://rustup.rs"),
    "cc": ("A C compiler (cc)", "apt install build-essential"),
    "curl": ("curl", "apt install curl"),
    "python": ("Python 3.10 or later", "apt install python3 python3-venv"),
    "node": ("Node 18 or later, with npm,", "apt install nodejs npm"),
    "java": ("Java 17 or later", "apt install default-jre-headless"),
    "chromium": ("Chromium", "apt install chromium"),
    "valgrind": ("valgrind", "apt install valgrind"),
    "openssl": ("openssl", "apt install openssl"),
    "docker": ("Docker", "https://docs.docker.com"),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_missing_tool_is_named_with_a_way_to_get_it(tmp_path, name):
    done = needs(programs(tmp_path / "bin"), name)
    what, way = WAYS[name]
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"{what} is missing") and way in done.stderr, done.stderr


@pytest.mark.parametrize(
    "name, stand_ins, says",
    [
        ("rust", {"cargo": "echo cargo 1.65.0"}, "Rust (cargo) 1.65.0 is too old"),
        ("rust", {"cargo": "echo cargo 1.94.9"}, "1.94.9 is too old: this needs 1.95 or later"),
        ("python", {"python3": "[ $1 = --version ] && echo Python 3.9.2; exit 1"}, "(python3 is 3.9.2)"),
        ("node", {"node": "echo v16.20.2", "npm": "echo 8.0.0"}, "Node 16.20.2 is too old: this needs 18 or later"),
        ("node", {"node": "echo v20.0.0"}, "with npm, is missing"),
        ("java", {"java": "echo 'openjdk version \"11.0.2\" 2019' >&2"}, "Java 11.0.2 is too old: this needs 17 or later"),
        ("java", {"java": "echo 'java version \"1.8.0_202\"' >&2"}, "Java 1.8.0 is too old"),
    ],
)
def test_a_tool_that_is_too_old_is_named_with_its_version(tmp_path, name, stand_ins, says):
    done = needs(programs(tmp_path / "bin", **stand_ins), name)
    assert done.returncode == 1 and says in done.stderr and ("http" in done.stderr or "apt" in done.stderr), done.stderr


def test_tools_that_are_new_enough_are_accepted(tmp_path):
    path = programs(
        tmp_path / "bin",
        cargo="echo cargo 1.95.0",
        cc="",
        curl="",
        python3="[ $1 = --version ] && echo Python 3.10.1; echo 3.10.1",
        node="echo v18.0.0",
        npm="",
        java="echo 'openjdk version \"17.0.15\" 2025' >&2",
        chromium="",
        valgrind="",
        openssl="",
        docker="",
    )
    done = needs(path, *WAYS)
    assert (done.returncode, done.stderr) == (0, "")
    # rustup takes the version that rust-toolchain.toml names, whatever runs now.
    done = needs(programs(tmp_path / "bin", cargo="echo cargo 1.65.0", rustup=""), "rust")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_missing_tool_is_named_at_once(tmp_path):
    done = needs(programs(tmp_path / "bin", curl=""), "rust", "cc", "curl")
    assert re.findall(r"^(.*) is missing", done.stderr, re.MULTILINE) == ["Rust (cargo)", "A C compiler (cc)"]


def test_the_versions_are_those_that_the_project_names():
    assert 'rust-version = "1.95"' in (ROOT / "Cargo.toml").read_text()
    assert "1.95 or later" in (ROOT / "tests/needs.sh").read_text()


@pytest.mark.parametrize("command", ["run", "invoke", "test", "check", "build", "deploy", "settings", "package", "soak", "bench"])
def test_a_command_that_needs_rust_says_so_first(tmp_path, command):
    environment = {"PATH": programs(tmp_path / "bin"), "HOME": os.devnull}
    done = subprocess.run(["make", command], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    assert "https://rustup.rs" in done.stderr and "build-essential" in done.stderr, done.stderr
    assert "not found" not in done.stderr + done.stdout, done


@pytest.mark.parametrize(
    "env, says", [(None, "The tools are not installed. Install them with: make tools"), ("", "sam is not installed. To install")]
)
def test_tools_that_are_not_installed_are_named(tmp_path, env, says):
    (tmp_path / "tests/e2e").mkdir(parents=True)
    script = shutil.copy(ROOT / "tests/e2e/with-tools.sh", tmp_path / "tests/e2e")
    if env is not None:
        (tmp_path / "target/e2e").mkdir(parents=True)
        (tmp_path / "target/e2e/env").write_text(env)
    environment = {"PATH": programs(tmp_path / "bin")}
    done = subprocess.run([script, "sam", "build"], capture_output=True, text=True, env=environment)
    assert done.returncode != 0 and done.stderr.startswith(says) and done.stderr.count("\n") == 1, done.stderr


def variables():
    """The settings that invoke.sh gives to the function."""
    script = (ROOT / "tests/e2e/invoke.sh").read_text()
    block = script.split("settings=(\n")[1].split("\n)")[0]
    return dict(word.split("=", 1) for word in block.split())


def test_env_json_has_the_settings_of_invoke_packaged():
    file = json.loads((ROOT / "events/env.json").read_text())
    assert list(file) == ["Function"]
    phone = "http://host.docker.internal:6870"
    own = {"$phone": phone, "${PROVIDER:-pinpoint}": "pinpoint"}
    expected = {name: value.strip("\"'") for name, value in variables().items()}
    assert file["Function"] == {name: own.get(value, value) for name, value in expected.items()}
    assert sum(value == phone for value in file["Function"].values()) == 2
    # SAM passes on only the variables that the template names.
    template = (ROOT / "template.yaml").read_text()
    assert [name for name in file["Function"] if f"        {name}:" not in template] == []


def invoke_packaged(tmp_path, system, engine, event="send.http-v2", provider=None, answers="exit 0"):
    """Runs invoke.sh with stand-ins for Docker, SAM and curl. Returns the process and the arguments of SAM."""
    told = tmp_path / "sam.txt"
    path = programs(
        tmp_path / "bin",
        docker=f'[ "$*" = info ] || echo "{engine}"',
        uname=f"echo {system}",
        sam=f'[ "$1" = build ] || printf "%s\\n" "$@" >{told}',
        curl=answers,
    )
    environment = {"PATH": path, "OTP_E2E_SAM": "sam", "OTP_E2E_ARCHITECTURE": "arm64"}
    if provider:
        environment["PROVIDER"] = provider
    (ROOT / "target/e2e").mkdir(parents=True, exist_ok=True)
    done = subprocess.run([ROOT / "tests/e2e/invoke.sh", event], capture_output=True, text=True, env=environment)
    return done, told.read_text().splitlines() if told.exists() else None


@pytest.mark.parametrize(
    "system, engine, network",
    [
        ("Linux", "Debian GNU/Linux 12 (bookworm)", ["--docker-network", "host", "--add-host", "host.docker.internal:127.0.0.1"]),
        ("Linux", "Docker Desktop", []),  # WSL
        ("Darwin", "Docker Desktop", []),
    ],
)
def test_the_container_finds_the_desk_on_every_system(tmp_path, system, engine, network):
    done, arguments = invoke_packaged(tmp_path, system, engine, provider="end-user-messaging")
    assert done.returncode == 0, done.stderr
    start = ["local", "invoke", "Function", "--event", "events/send.http-v2.json"]
    assert arguments == [*start, *network, "--env-vars", "target/e2e/invoke.json", "--parameter-overrides", "Architecture=arm64"]
    given = json.loads((ROOT / "target/e2e/invoke.json").read_text())
    file = json.loads((ROOT / "events/env.json").read_text())
    assert given["Function"] == file["Function"] | {"OTP_PROVIDER": "end-user-messaging"}


def test_a_desk_that_refuses_containers_is_reported(tmp_path):
    refuses = 'case "$*" in *host:*) exit 22 ;; esac'
    done, arguments = invoke_packaged(tmp_path, "Linux", "Docker Desktop", answers=refuses)
    assert done.returncode == 1 and arguments is None
    assert "make run HOST=host.docker.internal" in done.stderr


def test_an_event_that_is_not_there_is_answered_with_the_names_of_all(tmp_path):
    done, arguments = invoke_packaged(tmp_path, "Linux", "Docker Desktop", event="send.http-v3")
    assert done.returncode == 2 and arguments is None
    names = done.stderr.splitlines()[1:]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "events").glob("*.json") if path.stem != "env")
