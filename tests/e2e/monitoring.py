"""deploy/parts/monitoring.yaml as CloudWatch would see it, with the metrics of a recording instead of those of an account.

`tests/front_door/recording.rs` makes the recording. It has the metrics of half a day in windows of five minutes.
"""

import json
import re
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse
from test_template import ACCOUNT, REGION, Resolver

ROOT = Path(__file__).resolve().parents[2]
PART = ROOT / "deploy" / "parts" / "monitoring.yaml"
RECORDING = json.loads((ROOT / "tests" / "fixtures" / "monitoring" / "recording.json").read_text())
WINDOWS = RECORDING["windows"]
SECONDS = 60 * RECORDING["minutes"]

PARAMETERS = {"Stack": "otp", "Ledger": "otp", "Function": "otp-Function", "FunctionLogs": "FunctionLogs"}
WITH_POOL = {"Triggers": "otp-Triggers", "TriggersLogs": "TriggersLogs"}
WITHOUT_POOL = {"Triggers": "", "TriggersLogs": ""}


class PartResolver(Resolver):
    def attribute(self, resource, name):
        assert name == "Arn" and self.transformed["Resources"][resource]["Type"] == "AWS::CloudWatch::Alarm"
        return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{resource}"


def part(detail, pool=True):
    """The resources of the part by kind, each by its name, with all values filled in."""
    source = yaml_parse(PART.read_text())
    resolver = PartResolver(source, {"Detail": detail, **PARAMETERS, **(WITH_POOL if pool else WITHOUT_POOL)})
    kinds = {}
    for name, it in source["Resources"].items():
        if "Condition" not in it or resolver.condition({"Condition": it["Condition"]}):
            kinds.setdefault(it["Type"].split("::")[-1], {})[name] = resolver(it.get("Properties", {}))
    return kinds


# --- the metrics of alarms and widgets ------------------------------------------------------------------------------

QUERY = re.compile(r'SELECT (\w+)\((\w+)\) FROM SCHEMA\("([^"]+)", ([\w, ]+)\) WHERE (\w+) = \'([^\']+)\' GROUP BY (\w+) ORDER BY \1\(\) (?:ASC|DESC)')
SEARCH = re.compile(r"""SEARCH\('\{([^,]+),([\w,]+)\} MetricName="(\w+)" (\w+)="([^"]+)"', '(\w+)', (\d+)\)""")
STATISTICS = {"SUM": "Sum", "AVG": "Average", "MAX": "Maximum", "MIN": "Minimum"}


class Metric:
    """One metric, or with `split` one for each value of a dimension."""

    def __init__(self, namespace, name, dimensions, stat, period, split=None):
        self.namespace, self.name, self.dimensions = namespace, name, dimensions
        self.stat, self.period, self.split = stat, period, split

    def names(self):
        """What must be emitted: the name, and the names of the dimensions."""
        return self.namespace, self.name, tuple(sorted([*self.dimensions, *([self.split] if self.split else [])]))

    def unit(self):
        for name, unit, dimensions in RECORDING["metrics"]:
            if ("otp-lambda", name, tuple(sorted(dimensions))) == self.names():
                return unit
        return "Count" if self.namespace == "AWS/Lambda" else None

    def series(self):
        """{value of `split`: {window: statistics}}."""
        found = {}
        for it in RECORDING["series"]:
            if (it["namespace"], it["name"], tuple(sorted(it["dimensions"]))) != self.names():
                continue
            others = {name: value for name, value in it["dimensions"].items() if name != self.split}
            if others == self.dimensions:
                found[it["dimensions"].get(self.split, "")] = {int(window): value for window, value in it["windows"].items()}
        return found

    def points(self, end):
        """{value of `split`: the value of the period that ends with this window, or None}."""
        first = end - self.period // SECONDS + 1
        return {name: statistic(self.stat, [it[n] for n in range(first, end + 1) if n in it]) for name, it in self.series().items()}


def statistic(stat, windows):
    if not windows:
        return None
    if stat == "Sum":
        return sum(it["sum"] for it in windows)
    if stat == "Average":
        return sum(it["sum"] for it in windows) / sum(it["n"] for it in windows)
    if stat == "SampleCount":
        return sum(it["n"] for it in windows)
    # The recording has the percentiles of single windows. The highest stands for several.
    return max(it["max" if stat == "Maximum" else stat] for it in windows)


def query(text, period):
    """The metric of an expression that asks for metrics, or None if it only computes."""
    if it := QUERY.fullmatch(text):
        stat, name, namespace, dimensions, key, value, split = it.groups()
        assert set(dimensions.split(", ")) == {key, split}, text
        return Metric(namespace, name, {key: value}, STATISTICS[stat], period, split)
    if it := SEARCH.fullmatch(text):
        namespace, dimensions, name, key, value, stat, seconds = it.groups()
        (split,) = set(dimensions.split(",")) - {key}
        return Metric(namespace, name, {key: value}, stat, int(seconds), split)
    assert "SELECT" not in text and "SEARCH" not in text, text
    return None


def compute(text, values):
    """An expression for one window. As in CloudWatch, a missing value counts as 0 beside others that are there. Nothing
    comes of missing values alone, nor of a division by zero."""

    def fill(name, other):
        return other if values[name] is None else values[name]

    def choose(condition, one, other):
        return one if condition else other

    python = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", re.sub(r"\bIF\(", "choose(", re.sub(r"\bFILL\((\w+)", r'fill("\1"', text))))
    if "FILL(" not in text and all(it is None for it in values.values()):
        return None
    numbers = {name: 0 if it is None else it for name, it in values.items()}
    try:
        return eval(python, {"__builtins__": {}}, {**numbers, "fill": fill, "choose": choose})
    except ZeroDivisionError:
        return None


# --- alarms ---------------------------------------------------------------------------------------------------------


def of_alarm(alarm):
    """The metrics of an alarm by their IDs, its expressions by theirs, and the ID that the alarm watches."""
    if "MetricName" in alarm:
        dimensions = {it["Name"]: it["Value"] for it in alarm["Dimensions"]}
        stat = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        return {"m": Metric(alarm["Namespace"], alarm["MetricName"], dimensions, stat, alarm["Period"])}, {}, "m"
    metrics, expressions = {}, {}
    for it in alarm["Metrics"]:
        if "MetricStat" in it:
            stat = it["MetricStat"]
            dimensions = {one["Name"]: one["Value"] for one in stat["Metric"]["Dimensions"]}
            metrics[it["Id"]] = Metric(stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], dimensions, stat["Stat"], stat["Period"])
        elif found := query(it["Expression"], it.get("Period")):
            metrics[it["Id"]] = found
        else:
            expressions[it["Id"]] = it["Expression"]
    (watched,) = (it["Id"] for it in alarm["Metrics"] if it["ReturnData"])
    return metrics, expressions, watched


BREACHES = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
}


def state(alarm, values, before):
    """Whether an alarm rings after these values, the newest last. None is a missing value."""
    breaches = BREACHES[alarm["ComparisonOperator"]]
    if alarm["TreatMissingData"] == "ignore" and values == [None]:
        return before
    # Of several periods, AWS's rules for `ignore` are long, and no alarm needs them.
    assert alarm["TreatMissingData"] == "notBreaching" or len(values) == 1
    bad = sum(value is not None and breaches(value, alarm["Threshold"]) for value in values)
    return bad >= alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])


def rings(alarm, late=()):
    """The windows after which an alarm rings, by what it names: a country, or nothing.

    Of a namespace in `late`, the newest period is not there yet. If the alarm then has no newest value, CloudWatch takes
    those before. If an expression fills the gap, CloudWatch takes the filled value.
    """
    metrics, expressions, watched = of_alarm(alarm)
    (period,) = {it.period for it in metrics.values()}
    step, many = period // SECONDS, alarm["EvaluationPeriods"]

    def values(window, newest):
        points = {name: {} if newest and it.namespace in late else it.points(window) for name, it in metrics.items()}
        if watched in points:
            return points[watched]
        return {"": compute(expressions[watched], {name: it.get("") for name, it in points.items()})}

    known = [values(window, newest=False) for window in range(WINDOWS)]
    found, states = {}, {}
    for window in range(WINDOWS):
        newest = values(window, newest=True)
        before = [known[at] if at >= 0 else {} for at in range(window - step * many, window, step)]
        for name in {name for it in known for name in it}:
            line = [*(it.get(name) for it in before), newest.get(name)]
            is_late = bool(late) and line[-1] is None
            states[name] = state(alarm, line[:-1] if is_late else line[1:], states.get(name, False))
            if states[name]:
                found.setdefault(name, []).append(window)
    return found


def runs(windows):
    """The first and the last window of each time that an alarm rings without a pause."""
    starts = [at for at in windows if at - 1 not in windows]
    ends = [at for at in windows if at + 1 not in windows]
    return list(zip(starts, ends))


# --- widgets --------------------------------------------------------------------------------------------------------


def rows(widget):
    """The rows of a widget: (its metric or expression, its options)."""
    properties = widget["properties"]
    for row in properties["metrics"]:
        options = row[-1] if isinstance(row[-1], dict) else {}
        if set(options) & {"expression"}:
            yield query(options["expression"], properties["period"]) or options["expression"], options
        else:
            namespace, name, *dimensions = [it for it in row if not isinstance(it, dict)]
            pairs = dict(zip(dimensions[::2], dimensions[1::2]))
            yield Metric(namespace, name, pairs, options["stat"], properties["period"]), options


def metrics_of_widget(widget):
    return [it for it, _ in rows(widget) if isinstance(it, Metric)]
