"""AWS on this machine, for the tests that deploy: MiniStack as AWS, and the simulator as the providers.

MiniStack differs from AWS as follows:

- MiniStack does not mount layers at /opt for programs. The packaged template therefore names the price file by its path on
  this machine. Nothing else of the template is changed.
- A function inherits MiniStack's own variables. Through these variables, the tests tell the function where the simulator is.
- MiniStack's IAM does not know `dynamodb:LeadingKeys`. emulator.py adds this condition key.
- CloudFormation reserves no instances (ReservedConcurrentExecutions). The tests reserve them with Lambda's own API, and
  emulator.py makes them hold for versions and aliases.
- A user pool accepts flows that the client of the pool does not allow.
- The errors of a user pool say that a user is unknown.
"""

import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
E2E = ROOT / "target" / "e2e"
REGION = "us-east-1"


def free_port():
    # The operating system takes the ports of outgoing connections from a range above 32,000. If this port were in that range,
    # an outgoing connection could take the port before the program listens on it.
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as it:
            try:
                it.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def get(url, body=None):
    with urllib.request.urlopen(url, data=body, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def simulator_program():
    return Path(os.environ.get("OTP_E2E_SIMULATOR") or ROOT / "target" / "debug" / "simulator")


class Phone:
    """The simulated AWS alone, which gets no further than the phones."""

    def __init__(self, folder):
        self.log = (folder / "phone.log").open("w+")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        command = [str(simulator_program()), "--phone-only", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                get(f"{self.url}/inbox")
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise TimeoutError(Path(self.log.name).read_text())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def post(self, path, body):
        request = urllib.request.Request(
            f"{self.url}/simulator/{path}", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()


class Cloud:
    """With `auth`, signatures are checked and IAM policies enforced."""

    def __init__(self, auth=False):
        self.auth = auth
        self.folder = Path(tempfile.mkdtemp(prefix="otp-cloud-"))
        self.processes = []
        self.port, self.phone_port = free_port(), free_port()
        self.url, self.phone = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.phone_port}"
        self.log = (self.folder / "log").open("w+")

    def __enter__(self):
        try:
            self.start([simulator_program(), "--phone-only", "--port", self.phone_port], {})
            self.start(
                [E2E / "ministack" / "bin" / "python", ROOT / "tests" / "e2e" / "emulator.py"],
                {
                    "HOME": self.folder,
                    "TMPDIR": self.folder,
                    "BIND_HOST": "127.0.0.1",
                    "GATEWAY_PORT": self.port,
                    "MINISTACK_HOST": "127.0.0.1",
                    "LAMBDA_EXECUTOR": "local",
                    "AUTH": str(self.auth).lower(),
                    # Without it MiniStack listens on every address for MQTT.
                    "IOT_MTLS_ENABLED": "0",
                    "AWS_ENDPOINT_URL": self.url,
                    **{f"AWS_ENDPOINT_URL_{it}": self.phone for it in ("PINPOINT", "ENDUSERMESSAGING", "PINPOINT_SMS_VOICE_V2")},
                },
            )
            self.wait(f"{self.phone}/inbox")
            self.wait(f"{self.url}/_ministack/health")
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, command, variables):
        variables = {"PATH": os.environ["PATH"], **{name: str(value) for name, value in variables.items()}}
        command = [str(part) for part in command]
        self.processes.append(
            subprocess.Popen(command, env=variables, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        )

    def wait(self, url):
        for _ in range(300):
            try:
                return get(url)
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"{url} does not answer:\n{self.output()}")

    def output(self):
        self.log.flush()
        return (self.folder / "log").read_text()[-4000:]

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def environment(self):
        """The variables of a person who deploys to this cloud."""
        dropped = ("AWS_", "MAKE", "MFLAGS", "OTP_E2E_BOOTSTRAP")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        for name in ("STACK", "CONFIRM", "SETTINGS"):
            kept.pop(name, None)
        return kept | {
            "PATH": f"{E2E / 'sam' / 'bin'}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "SAM_CLI_TELEMETRY": "0",
        }

    def inbox(self):
        return get(f"{self.phone}/inbox")["messages"]


class Desk:
    """The desk with these settings, each as NAME=value."""

    def __init__(self, folder, *settings):
        self.log = (folder / "desk.log").open("w+")
        self.settings = settings
        phone, api = free_port(), free_port()
        self.url, self.api_url = f"http://127.0.0.1:{phone}", f"http://127.0.0.1:{api}"
        self.ports = ["--port", phone, "--api-port", api]

    def __enter__(self):
        command = [simulator_program(), *self.ports, "--log", "json"]
        for setting in self.settings:
            command += ["--set", setting]
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                get(f"{self.url}/inbox")
                return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise TimeoutError(self.output())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def output(self):
        self.log.flush()
        return Path(self.log.name).read_text()

    def inbox(self):
        return get(f"{self.url}/inbox")["messages"]


def package(folder, bootstrap, edit=lambda template: template):
    """What `sam build` makes, from a binary that is there already: a template beside its two packages."""
    folder = Path(folder)
    (folder / "Function").mkdir(parents=True)
    shutil.copy(bootstrap, folder / "Function" / "bootstrap")
    shutil.copytree(ROOT / "config", folder / "Config")
    shutil.copytree(ROOT / "deploy" / "parts", folder / "deploy" / "parts")
    source = edit((ROOT / "template.yaml").read_text())
    for before, after, count in (
        # Two functions have the same package.
        ("CodeUri: .\n", "CodeUri: Function\n", 2),
        ("ContentUri: config/\n", "ContentUri: Config\n", 1),
        ("CONFIG_FILE: /opt/otp-lambda.json", f"CONFIG_FILE: {folder / 'Config' / 'otp-lambda.json'}", 1),
    ):
        assert source.count(before) == count, before
        source = source.replace(before, after)
    (folder / "template.yaml").write_text(source)
    return folder
