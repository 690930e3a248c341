"""Reads a settings file: its parameters, the variables that the function would get, and everything that is wrong.

A settings file is YAML with the parameters of template.yaml, as `sam deploy --parameter-overrides file://…` takes it. The
template says which parameters exist, what each parameter accepts, which combinations are refused, and which variables the
parameters become. The program itself judges these variables, in the same way as when it starts.
"""

import difflib
import json
import os
import re
import subprocess
from pathlib import Path

import yaml
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "settings.example.yaml"
# The layer's file, before it is mounted.
PACKAGED = ROOT / "config" / "otp-lambda.json"

# Lambda measures the variables as one JSON object.
ENVIRONMENT_LIMIT = 4096

ABSENT = object()


class Unusable(Exception):
    """The file cannot be read. The text is a sentence for the person who wrote it."""


class Template:
    def __init__(self, path=ROOT / "template.yaml"):
        self.source = yaml_parse(Path(path).read_text())
        self.parameters = self.source["Parameters"]

    def variables(self, given, stack="otp-lambda", region="us-east-1"):
        """The environment of both functions. An empty parameter is an empty variable, whose name counts against the limit."""
        names = {
            # The example names are as long as CloudFormation's own names can be: their length counts against the limit.
            "Ledger": f"{stack}-Ledger-0123456789ABC",
            "Delivery": f"arn:aws-us-gov:sns:{region}:123456789012:{stack}-Delivery-0123456789ABC-Topic-0123456789AB",
            "LedgerKey": f"arn:aws-us-gov:secretsmanager:{region}:123456789012:secret:LedgerKey-0123456789ab-ABCDEF",
        }
        resolve = Resolver(self.source["Conditions"], {**names, **self.complete(given)})
        found = {name: resolve(value) for name, value in self.environment().items()}
        return {name: value for name, value in found.items() if value is not ABSENT}

    def environment(self):
        return self.source["Globals"]["Function"]["Environment"]["Variables"]

    def parameters_of_variables(self):
        """The parameter that each variable takes its value from."""
        found = {}
        for name, value in self.environment().items():
            value = value["Fn::If"][1] if isinstance(value, dict) and "Fn::If" in value else value
            if isinstance(value, dict) and value.get("Ref") in self.parameters:
                found[name] = value["Ref"]
        return found

    def complete(self, given):
        """The given values, and the default of each other parameter."""
        values = {name: given.get(name, it.get("Default")) for name, it in self.parameters.items()}
        return {name: str(value) for name, value in values.items() if value is not None}

    def problem_of_value(self, name, value):
        """What is wrong with the value of a parameter, for CloudFormation, or None."""
        parameter = self.parameters[name]
        sentence = parameter.get("ConstraintDescription")
        if "AllowedValues" in parameter:
            allowed = [str(it) for it in parameter["AllowedValues"]]
            sentence = sentence or "must be " + " or ".join(it or "empty" for it in allowed)
            good = value in allowed
        elif parameter["Type"] == "Number":
            good = re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) is not None
            good = good and parameter.get("MinValue", 0) <= float(value) <= parameter.get("MaxValue", float("inf"))
        else:
            good = re.fullmatch(parameter.get("AllowedPattern", "(?s).*"), value) is not None
            good = good and parameter.get("MinLength", 0) <= len(value) <= parameter.get("MaxLength", 4096)
        return None if good else f"{name} {sentence}."

    def broken_rules(self, given, bad):
        """The sentences of the rules that these parameters break. Rules about bad parameters would add nothing."""
        resolve = Resolver(self.source["Conditions"], self.complete(given))
        for rule in self.source["Rules"].values():
            if not bad & set(re.findall(r"'Ref': '(\w+)'", str(rule.get("RuleCondition")))) and resolve.holds(rule.get("RuleCondition", {"Fn::And": []})):
                for assertion in rule["Assertions"]:
                    asserted = set(re.findall(r"'Ref': '(\w+)'", str(assertion["Assert"])))
                    if not bad & asserted and not resolve.holds(assertion["Assert"]):
                        yield assertion["AssertDescription"].strip() + "."


class Resolver:
    """Resolves the intrinsic functions that the rules, the conditions and the variables use."""

    def __init__(self, conditions, values):
        self.conditions = conditions
        self.values = values

    def holds(self, condition):
        if isinstance(condition, str):
            return self.holds(self.conditions[condition])
        ((function, arguments),) = condition.items()
        if function == "Condition":
            return self.holds(arguments)
        if function == "Fn::Not":
            return not self.holds(arguments[0])
        if function == "Fn::And":
            return all(map(self.holds, arguments))
        if function == "Fn::Or":
            return any(map(self.holds, arguments))
        if function == "Fn::Equals":
            return self(arguments[0]) == self(arguments[1])
        if function == "Fn::Contains":
            return self(arguments[1]) in arguments[0]
        raise AssertionError(f"unknown condition {function}")

    def __call__(self, value):
        if not isinstance(value, dict):
            return str(value)
        ((function, arguments),) = value.items()
        if function == "Ref":
            return self.values.get(arguments, ABSENT)
        if function == "Fn::If":
            return self(arguments[1] if self.holds(arguments[0]) else arguments[2])
        if function == "Fn::GetAtt":
            return self.values.get(arguments[0] if isinstance(arguments, list) else arguments.split(".")[0], ABSENT)
        raise AssertionError(f"unknown function {function}")


def read(path):
    """The parameters in a settings file. Raises Unusable."""
    try:
        text = Path(path).read_text()
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}.") from error
    try:
        top = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise Unusable(f"{path}, line {line}: this is not YAML.") from error
    if not isinstance(top, yaml.MappingNode):
        raise Unusable(f"{path} has no settings. See docs/settings.example.yaml.")
    found = {}
    for key, value in top.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        name = key.value if isinstance(key, yaml.ScalarNode) else "this"
        if not isinstance(value, yaml.ScalarNode):
            raise Unusable(f"{where}: {name} must be one value in quotes.")
        if name in found:
            raise Unusable(f"{where}: {name} is there twice.")
        # YAML reads +1425… as a number without its plus, NO as false, and nothing as null.
        is_number = value.tag == "tag:yaml.org,2002:int" and re.fullmatch("0|[1-9][0-9]*", value.value)
        if value.tag != "tag:yaml.org,2002:str" and not is_number:
            raise Unusable(f'{where}: put the value of {name} in quotes ("" for empty).')
        found[name] = value.value
    return found


def problems(given, template, judge, **stack):
    """Everything that is wrong with these parameters, one sentence each."""
    found = []
    for name, value in given.items():
        if name in template.parameters:
            found.append(template.problem_of_value(name, value))
        else:
            near = difflib.get_close_matches(name, template.parameters, 1)
            found.append(f"{name} is not a setting." + (f" Did you mean {near[0]}?" if near else ""))
    for name, parameter in template.parameters.items():
        if "Default" not in parameter and name not in given:
            found.append(f"{name} is missing. {parameter['Description'].strip()}")
    found = [it for it in found if it]
    bad = {it.split()[0] for it in found}
    found += template.broken_rules(given, bad)

    variables = template.variables(given, **stack)
    size = environment_size(variables)
    if size > ENVIRONMENT_LIMIT:
        longest = sorted(variables, key=lambda name: len(variables[name].encode()), reverse=True)[:3]
        names = template.parameters_of_variables()
        sizes = ", ".join(f"{names.get(it, it)} ({len(variables[it].encode())})" for it in longest)
        found.append(
            f"The settings take {size} bytes of the {ENVIRONMENT_LIMIT} that Lambda allows for the variables of a function: "
            f"shorten them by {size - ENVIRONMENT_LIMIT} bytes. The longest are {sizes}. "
            f"Long lists fit into {PACKAGED.parent.name}/{PACKAGED.name} (docs/settings.md)."
        )
    # One sentence for a parameter is enough: the program would say the same in other words.
    named = {word for sentence in found for word in re.findall(r"\w+", sentence)}
    names = {**template.parameters_of_variables(), "CONFIG_FILE": f"{PACKAGED.parent.name}/{PACKAGED.name}"}
    # Without a provider, the program could only guess which settings are out of place.
    for sentence in judge(variables) if "Provider" not in bad else []:
        sentence = re.sub(r"[A-Z][A-Z_]+", lambda it: names.get(it.group(), it.group()), sentence)
        if re.match(r"\w+", sentence).group() not in named:
            found.append(sentence)
    return found


def environment_size(variables):
    return len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())


def judge_by_program(variables):
    """The problems that the function's own program has with these variables. Builds that program for this machine."""
    if os.environ.get("OTP_SETTINGS"):
        return judge_with(os.environ["OTP_SETTINGS"], variables)
    build = ["cargo", "build", "--quiet", "--package", "simulator", "--bin", "settings", "--message-format", "json"]
    done = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (program,) = [it["executable"] for it in messages if it.get("executable")]
    return judge_with(program, variables)


def judge_with(program, variables):
    variables = {
        **variables,
        # Lambda sets these.
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "CONFIG_FILE": str(PACKAGED),
    }
    done = subprocess.run([program], env=variables, stdout=subprocess.PIPE, text=True, timeout=60)
    sentences = done.stdout.splitlines()
    if done.returncode not in (0, 1) or (done.returncode == 1) != bool(sentences):
        raise RuntimeError(f"{os.path.basename(program)} ended with {done.returncode}")
    return sentences
