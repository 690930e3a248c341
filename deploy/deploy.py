"""The commands that deploy: `make settings`, `make deploy` and `make destroy`.

    deploy.py settings FILE      judges a settings file, and deploys nothing
    deploy.py deploy [FILE]      builds, judges and deploys. Without FILE it takes settings.yaml, or makes it by asking
    deploy.py destroy            deletes the stack, and says what stays

STACK is the name of the stack. TAGS are tags for all resources of the stack, such as `team=login env=prod`. Region and
credentials are those of the AWS CLI. Run this script with the Python that has SAM CLI.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import botocore.exceptions
import settings
from settings import EXAMPLE, ROOT, Template, Unusable

STACK = os.environ.get("STACK") or "otp-lambda"
TAGS = os.environ.get("TAGS", "").split()
BUILT = Path(os.environ.get("OTP_BUILT") or ROOT / ".aws-sam" / "build") / "template.yaml"
ASKED_FOR = Path("settings.yaml")

# The settings that have no sensible default, as questions. The last depends on the provider.
QUESTIONS = ["Provider", "BrandName", "AllowedCountries", "OriginationIdentity"]
LAST_QUESTION = {"pinpoint": "PinpointApplicationId", "end-user-messaging": "SmsOriginationArns"}

# Why a resource stays when the stack is deleted.
KEPT = {
    "Ledger": "the ledger's table: deleting it opens every lock and starts every limit again",
    "LedgerKey": "the secret of the ledger: the table is useless without it",
    "FunctionLogs": "the log of the function, which you may need now; its retention empties it",
    "TriggersLogs": "the log of the function that signs users in, for the same reason",
    "ApiLogs": "the access log of the API, for the same reason",
    "UserPool": "the user pool: its users cannot be restored",
}


class Stop(Exception):
    """A sentence for the person who deploys."""


def say(text=""):
    print(text, flush=True)


def ask(question):
    try:
        return input(question).strip()
    except EOFError as error:
        raise Stop("No answer. Nothing was deployed.") from error


# --- the settings file ----------------------------------------------------------------------------------------------


def make_file(path, template):
    """Asks for the settings without a default, and writes them into a copy of the example."""
    say(f"{path} does not exist. Five answers make it; the other settings get their defaults, and you can edit it later.\n")
    answers = {"SmsOriginationArns": ""}
    for name in QUESTIONS:
        answers[name] = ask_for(name, template)
    last = LAST_QUESTION[answers["Provider"]]
    answers[last] = ask_for(last, template)
    lines = EXAMPLE.read_text().splitlines()
    for name, value in answers.items():
        (index,) = (index for index, line in enumerate(lines) if line.startswith(f"{name}: "))
        lines[index] = f"{name}: {json.dumps(value, ensure_ascii=False)}"
    Path(path).write_text("\n".join(lines) + "\n")
    say(f"\nWrote {path}.")


def ask_for(name, template):
    say(f"{name}: {template.parameters[name]['Description'].strip()}")
    while True:
        value = ask("> ")
        problem = template.problem_of_value(name, value)
        if not value:
            problem = f"{name} is needed."
        if not problem:
            say()
            return value
        say(problem)


def judged(path, template):
    """The parameters of a settings file. Stops if anything is wrong with them."""
    given = settings.read(path)
    found = settings.problems(given, template, settings.judge_by_program, stack=STACK)
    if found:
        raise Stop(f"{path} cannot be deployed:\n" + "\n".join(f"  - {it}" for it in found))
    size = settings.environment_size(template.variables(given, stack=STACK))
    say(f"{path} is good: the function starts with it. Its variables take {size} of {settings.ENVIRONMENT_LIMIT} bytes.")
    return template.complete(given)


# --- AWS ------------------------------------------------------------------------------------------------------------


def stack_or_none(cloudformation):
    try:
        (stack,) = cloudformation.describe_stacks(StackName=STACK)["Stacks"]
    except botocore.exceptions.ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if stack["StackStatus"] == "REVIEW_IN_PROGRESS" else stack


def in_words(stack, parameters, template):
    """The changes of settings that a deployment makes, one line each."""
    if stack is None:
        return [f"creates the stack {STACK}"]
    before = {it["ParameterKey"]: it.get("ParameterValue", "") for it in stack.get("Parameters", [])}
    lines = []
    for name, value in parameters.items():
        # CloudFormation does not tell the old value.
        if template.parameters[name].get("NoEcho"):
            lines.append(f"sets {name} to what the file says" if value else f"leaves {name} empty")
        elif name not in before:
            lines.append(f"sets {name} to {value or 'nothing'} (new in this version)")
        elif before[name] != value:
            lines.append(f"changes {name} from {before[name] or 'nothing'} to {value or 'nothing'}")
    return lines


def resources_in_words(cloudformation):
    """The changes of resources in the change set that SAM has made, one line each."""
    summaries = cloudformation.list_change_sets(StackName=STACK)["Summaries"]
    ready = [it for it in summaries if it.get("Status") == "CREATE_COMPLETE"]
    if not ready:
        return []
    newest = max(ready, key=lambda it: it["CreationTime"])
    changes = cloudformation.describe_change_set(StackName=STACK, ChangeSetName=newest["ChangeSetId"])["Changes"]
    words = {"Add": "creates", "Modify": "changes", "Remove": "removes", "Import": "imports"}
    found = []
    for it in (it["ResourceChange"] for it in changes):
        replaced = " (a new one takes its place)" if it.get("Replacement") == "True" else ""
        kind = it["ResourceType"].removeprefix("AWS::").replace("::", " ")
        found.append(f"{words.get(it['Action'], it['Action'])} {it['LogicalResourceId']}, {kind}{replaced}")
    return sorted(found)


def sam(*arguments, parameters):
    """Runs `sam deploy` with these parameters, in a file that only this user can read."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parameters.yaml"
        file.touch(mode=0o600)
        file.write_text(json.dumps(parameters, ensure_ascii=False))
        command = ["sam", "deploy", "--stack-name", STACK, "--template-file", str(BUILT), "--resolve-s3", *arguments]
        command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset"]
        command += ["--parameter-overrides", f"file://{file}"]
        if TAGS:
            command += ["--tags", *TAGS]
        done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        raise Stop(f"The stack {STACK} was not changed, or CloudFormation has taken it back to what it was: see above.")


def build(parameters):
    if os.environ.get("OTP_BUILT"):
        return
    architecture = parameters["Architecture"]
    say(f"\nBuilding for {architecture} (minutes, the first time) …")
    command = ["sam", "build", "--parameter-overrides", f"Architecture={architecture}"]
    if subprocess.run(command, cwd=ROOT).returncode:
        target = {"arm64": "aarch64", "x86_64": "x86_64"}[architecture] + "-unknown-linux-gnu"
        raise Stop(f"The build failed: see above. If the target is missing: rustup target add {target}")


# The functions, by the output that names each. The parameter can stop the function.
FUNCTIONS = {
    "FunctionName": ("its function", "ReservedConcurrency"),
    "CognitoTriggerArn": ("its function for sign-ins", "CognitoReservedConcurrency"),
}


def start_each_once(client, outputs, parameters):
    for output, (words, reserved) in FUNCTIONS.items():
        if output not in outputs:
            continue
        if parameters[reserved] == "0":
            say(f"{words.capitalize()} is stopped, because {reserved} is 0.")
        else:
            start_once(client, outputs[output], words)
            say(f"{words.capitalize()} has started once.")


def start_once(client, function, words):
    """Invokes the deployed function once, without an effect."""
    event = json.dumps({"operation": "settings"}).encode()
    answer = client.invoke(FunctionName=function, Payload=event)
    body = answer["Payload"].read().decode()
    if answer.get("FunctionError") or (json.loads(body) or {}).get("settings") != "ok":
        raise Stop(f"The stack is deployed, and {words} does not start: {body}\nThe log of the function has the reason.")


# --- commands -------------------------------------------------------------------------------------------------------


def deploy(path):
    template = Template()
    path = Path(path or ASKED_FOR)
    is_new = not path.exists()
    if is_new:
        if not sys.stdin.isatty():
            raise Stop(f"{path} does not exist. Make it from the example: cp docs/settings.example.yaml {path}")
        make_file(path, template)
    parameters = judged(path, template)
    build(parameters)
    cloudformation = boto3.client("cloudformation")
    stack = stack_or_none(cloudformation)
    changes = in_words(stack, parameters, template)
    if is_new:
        sam("--no-execute-changeset", parameters=parameters)
        changes += resources_in_words(cloudformation)
    say(f"\nThis deployment to {cloudformation.meta.region_name}:")
    for line in changes or ["changes no setting"]:
        say(f"  {line}")
    if is_new and ask("\nDeploy? [y/N] ").lower() not in ("y", "yes"):
        raise Stop(f"Nothing was deployed. Edit {path} and run make deploy again.")
    sam(parameters=parameters)
    outputs = {it["OutputKey"]: it["OutputValue"] for it in stack_or_none(cloudformation)["Outputs"]}
    say("\nDeployed.")
    start_each_once(boto3.client("lambda"), outputs, parameters)
    say(f"The API is {outputs['ApiUrl']}")


def destroy():
    cloudformation = boto3.client("cloudformation")
    stack = stack_or_none(cloudformation)
    if stack is None:
        raise Stop(f"There is no stack {STACK} in {cloudformation.meta.region_name}.")
    parameters = {it["ParameterKey"]: it["ParameterValue"] for it in stack.get("Parameters", [])}
    resources = cloudformation.describe_stack_resources(StackName=STACK)["StackResources"]
    ids = {it["LogicalResourceId"]: it.get("PhysicalResourceId") for it in resources}
    say(f"This deletes the stack {STACK} in {cloudformation.meta.region_name}. These stay, and cost what they cost now:\n")
    for name, reason in KEPT.items():
        if ids.get(name):
            say(f"  {ids[name]}\n    {reason}")
    if parameters.get("DeliveryEvents") == "on":
        say(f"  {parameters['ConfigurationSet']}\n    the configuration set: another function may name it in its sends")
    confirmed = os.environ.get("CONFIRM") or (ask("\nThe stack's name, to delete it: ") if sys.stdin.isatty() else "")
    if confirmed != STACK:
        raise Stop(f"Nothing was deleted. Without a terminal, confirm with CONFIRM={STACK}.")
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 3, "MaxAttempts": 400})
    say(f"\nThe stack {STACK} is deleted. Delete what stays by hand, if you are sure.")


def main(arguments):
    try:
        match arguments:
            case ["settings", path] if path:
                judged(path, Template())
            case ["settings", *_]:
                raise Stop("Name the file: make settings SETTINGS=prod.yaml")
            case ["deploy"]:
                deploy("")
            case ["deploy", path]:
                deploy(path)
            case ["destroy"]:
                destroy()
            case _:
                raise Stop(__doc__)
    except (Stop, Unusable) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"\n{error.cmd[0]} failed: see above.", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"\n{error.filename} is not installed. make deploy needs Rust: https://rustup.rs", file=sys.stderr)
        return 1
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        print(f"\nAWS: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
