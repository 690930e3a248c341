"""Decides when an alarm rings, as CloudWatch's documentation says, from the metrics of each minute.

An alarm is evaluated every minute, and its periods end with this minute. CloudWatch looks at some periods more than the
alarm has, and takes them in place of missing ones. The documentation does not say how many these are. In its examples,
they are two. The rest of its rules is in `decide`.
"""

import re
from collections import deque
from itertools import accumulate

from monitoring import BREACHES, compute, of_alarm

FURTHER_PERIODS = 2

KNOWN = {
    "alarm": {
        "ActionsEnabled", "AlarmActions", "AlarmDescription", "AlarmName", "ComparisonOperator", "DatapointsToAlarm", "Dimensions",
        "EvaluationPeriods", "ExtendedStatistic", "MetricName", "Metrics", "Namespace", "Period", "Statistic", "Threshold",
        "TreatMissingData",
    },
    "metric": {"Expression", "Id", "Label", "MetricStat", "Period", "ReturnData"},
    "stat": {"Metric", "Period", "Stat"},
    "of": {"Dimensions", "MetricName", "Namespace"},
    "treat": {"breaching", "ignore", "notBreaching"},
}  # fmt: skip


def check_known(alarm):
    """An alarm with anything that is not evaluated here is an error."""

    def known(kind, names):
        unknown = set(names) - KNOWN[kind]
        assert not unknown, f"alarms.py does not know {sorted(unknown)}"

    known("alarm", alarm)
    known("treat", [alarm["TreatMissingData"]])
    assert alarm["ComparisonOperator"] in BREACHES, alarm["ComparisonOperator"]
    assert alarm.get("ActionsEnabled", True) is True
    for it in alarm.get("Metrics", []):
        known("metric", it)
        if "MetricStat" in it:
            known("stat", it["MetricStat"])
            known("of", it["MetricStat"]["Metric"])
    metrics, expressions, _ = of_alarm(alarm)
    for text in expressions.values():
        words = set(re.findall(r"[A-Za-z_]\w*", text)) - set(metrics)
        assert words <= {"IF", "FILL", "AND", "OR"}, f"alarms.py does not know {sorted(words)}"


def decide(points, periods, needed, breaches, treat, before):
    """Whether an alarm rings. `points` are the values of its periods and of some before, the newest first, and None if
    missing. `before` is its state until now.

    Real values come first, also older ones. Only if these are too few, missing ones count as `treat` says.
    """
    real = [it for it in points if it is not None][:periods]
    bad = sum(map(breaches, real))
    missing = periods - len(real)
    if bad >= needed:
        return True
    if treat == "breaching":
        return bad + missing >= needed
    if treat == "ignore" and missing and bad == len(real):
        return before
    return False


class Metrics:
    """The metrics of a drill: {minute: [count, sum, largest, all values of a time]} of each."""

    def __init__(self, recorded):
        self.minutes = recorded["starts"] + recorded["minutes"]
        self.all, self.known = {}, {}
        for it in recorded["series"]:
            minutes = {int(minute): values for minute, values in it["minutes"].items()}
            self.all[it["namespace"], it["name"], frozenset(it["dimensions"].items())] = minutes

    def lines(self, metric):
        """{value of `split`, or "": the value of the period that ends with each minute, or None}."""
        found = {}
        for (namespace, name, dimensions), minutes in self.all.items():
            if (namespace, name) != (metric.namespace, metric.name):
                continue
            split = [value for key, value in dimensions if key == metric.split]
            others = {key: value for key, value in dimensions if key != metric.split}
            if others == metric.dimensions and bool(split) == bool(metric.split):
                key = namespace, name, dimensions, metric.stat, metric.period
                if key not in self.known:
                    self.known[key] = self.line(metric.stat, metric.period // 60, minutes)
                found[split[0] if split else ""] = self.known[key]
        return found

    def line(self, stat, width, minutes):
        def sums(part):
            sums = [0, *accumulate(minutes[at][part] if at in minutes else 0 for at in range(self.minutes))]
            return [sums[at + 1] - sums[max(at + 1 - width, 0)] for at in range(self.minutes)]

        if stat in ("Sum", "Average"):
            pairs = zip(sums(0), sums(1))
            return [None if not count else total if stat == "Sum" else total / count for count, total in pairs]
        if stat == "SampleCount":
            return [count or None for count in sums(0)]
        line, window = [], deque()
        for at in range(self.minutes):
            if at in minutes:
                window.append(at)
            if window and window[0] <= at - width:
                window.popleft()
            if not window:
                line.append(None)
            elif stat == "Maximum":
                line.append(max(minutes[it][2] for it in window))
            else:
                values = sorted(value for it in window for value in minutes[it][3])
                percent = float(re.fullmatch(r"p(\d+(?:\.\d+)?)", stat)[1])
                line.append(values[max(-int(-len(values) * percent // 100), 1) - 1])
        return line


def lines_of(alarm, recorded):
    """What the alarm watches: {what it names, or "": a value for each minute, or None}."""
    metrics, expressions, watched = of_alarm(alarm)
    (period,) = {it.period for it in metrics.values()}
    if watched in metrics:
        return period, recorded.lines(metrics[watched])
    every = {name: recorded.lines(it).get("") or [None] * recorded.minutes for name, it in metrics.items()}
    text, names = expressions[watched], list(every)
    known = {}

    def value(values):
        if values not in known:
            known[values] = compute(text, dict(zip(names, values)))
        return known[values]

    return period, {"": [value(values) for values in zip(*every.values())]}


def ringing(alarm, recorded, further=FURTHER_PERIODS):
    """The minutes in which an alarm rings: {what it names, or "": [(the first, the last)]}."""
    check_known(alarm)
    period, lines = lines_of(alarm, recorded)
    step, periods = period // 60, alarm["EvaluationPeriods"]
    needed, treat = alarm.get("DatapointsToAlarm", periods), alarm["TreatMissingData"]
    compare = BREACHES[alarm["ComparisonOperator"]]

    def breaches(value):
        return compare(value, alarm["Threshold"])

    reach = step * (periods + further)
    found = {}
    for name, line in lines.items():
        is_on, last_bad, runs = False, None, []
        for at, value in enumerate(line):
            if value is not None and breaches(value):
                last_bad = at
            # Without a bad value within reach, nothing begins.
            if treat != "breaching" and not is_on and (last_bad is None or at - last_bad >= reach):
                continue
            points = [line[it] if it >= 0 else None for it in range(at, at - reach, -step)]
            was_on, is_on = is_on, decide(points, periods, needed, breaches, treat, is_on)
            if is_on and not was_on:
                runs.append([at, at])
            elif is_on:
                runs[-1][1] = at
        if runs:
            found[name] = [tuple(it) for it in runs]
    return found
