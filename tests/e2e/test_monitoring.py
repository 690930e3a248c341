"""The alarms, the saved queries and the dashboard, beside the metrics and the log lines that the function writes.

    target/e2e/sam/bin/python -m pytest tests/e2e/test_monitoring.py
"""

import json
import re

import pytest
from dashboard import PICTURE, clock, picture
from monitoring import RECORDING, ROOT, WINDOWS, compute, metrics_of_widget, of_alarm, part, rings, rows, runs
from samtranslator.yaml_helper import yaml_parse

OPERATE = (ROOT / "docs" / "operate.md").read_text()
COSTS = (ROOT / "docs" / "costs.md").read_text()
TABLE = re.findall(r"(?m)^\| `(\w+)` \| `(basic|full)` \| `(\w+)` \|", OPERATE)


def emitted(detail):
    """What the function emits with this detail: (name, names of dimensions)."""
    least = {name: of for name, of, _ in TABLE}
    every = {("otp-lambda", name, tuple(sorted(dimensions))) for name, _, dimensions in RECORDING["metrics"]}
    if detail == "full":
        return every
    return {it for it in every if least[it[1]] == "basic" and it[2] == ("ledger",)}


def widgets():
    (dashboard,) = part("full")["Dashboard"].values()
    return json.loads(dashboard["DashboardBody"])["widgets"]


def used(detail, pool=True):
    """The metrics of all alarms and widgets."""
    found = [it for alarm in part(detail, pool)["Alarm"].values() for it in of_alarm(alarm)[0].values()]
    if detail == "full":
        found += [it for widget in widgets() if widget["type"] == "metric" for it in metrics_of_widget(widget)]
    return found


@pytest.mark.parametrize("detail", ["basic", "full"])
def test_every_metric_of_an_alarm_or_a_widget_is_emitted_and_every_metric_is_in_one(detail):
    ours = {it.names() for it in used(detail) if it.namespace == "otp-lambda"}
    assert ours == emitted(detail)
    assert {it.name for it in used(detail) if it.namespace != "otp-lambda"} <= {"Invocations", "Errors", "Throttles"}
    assert {it.namespace for it in used(detail)} == {"otp-lambda", "AWS/Lambda"}
    # The page has the units of the recording.
    assert {(name, unit) for name, _, unit in TABLE} == {(name, unit) for name, unit, _ in RECORDING["metrics"]}


# The words on an axis for each unit.
UNITS = {"Count": "count", "Percent": "percent", "Milliseconds": "milliseconds", "None": "dollars"}


def test_the_metrics_on_an_axis_have_its_unit():
    for widget in widgets():
        properties = widget["properties"]
        if "yAxis" not in properties:
            continue
        label = properties["yAxis"]["left"]["label"]
        for it, options in rows(widget):
            if not isinstance(it, str) and options.get("visible", True) and "yAxis" not in options:
                assert UNITS[it.unit()] == label, (properties["title"], it.name)
            elif isinstance(it, str):
                assert it.startswith("100 * ") and label == "percent", it


def test_a_basic_stack_has_ten_alarms_and_a_full_one_at_most_15_and_one_dashboard():
    counts = {(detail, pool): {kind: len(it) for kind, it in part(detail, pool).items()} for detail in ("basic", "full") for pool in (True, False)}
    for pool in (True, False):
        assert counts["basic", pool] == {"Topic": 1, "Alarm": 10, "QueryDefinition": 6}
    assert counts["full", True] == {"Topic": 1, "Alarm": 14, "QueryDefinition": 6, "Dashboard": 1}
    assert counts["full", False] == {"Topic": 1, "Alarm": 12, "QueryDefinition": 6, "Dashboard": 1}


# The alarms about budgets. Only sends tell how full a budget is.
SPEND = {"SpendHalf", "SpendMost", "SpendAll", "CountrySpend"}


def test_an_alarm_is_quiet_without_data_and_tells_the_topic(monkeypatch):
    for name, alarm in part("full")["Alarm"].items():
        assert alarm["TreatMissingData"] == ("ignore" if name in SPEND else "notBreaching"), name
        assert alarm["AlarmActions"] == ["Topic"], name
        # A pager shows it. The other test of these paragraphs looks whether the page has one.
        assert alarm["AlarmDescription"].endswith(f". See {name} in docs/operate.md."), name
        # AWS: at most ten metrics in an expression, and the last three hours for a query.
        metrics, _, _ = of_alarm(alarm)
        assert len(metrics) <= 10
        for it in metrics.values():
            assert not it.split or it.period * alarm["EvaluationPeriods"] <= 3 * 3600, name
    monkeypatch.setitem(RECORDING, "series", [])
    assert [name for name, alarm in part("full")["Alarm"].items() if rings(alarm)] == []


def a_series(name, values):
    """A metric with these values: {window: value}."""
    windows = {str(window): {"n": 1, "sum": value, "max": value} for window, value in values.items()}
    return {"namespace": "otp-lambda", "name": name, "unit": "Count", "dimensions": {"ledger": "otp"}, "windows": windows}


def test_an_alarm_about_a_budget_rings_once_across_a_pause(monkeypatch):
    budgets = {"budgetUsed", "countryBudgetUsed"}
    # Two sends with a full budget, half an hour of silence, one more such send, and one in the next hour.
    sends = [a_series(name, {20: 100, 21: 100, 28: 100, 40: 3}) for name in sorted(budgets)]
    monkeypatch.setitem(RECORDING, "series", sends)
    alarms = part("full")["Alarm"]
    for name in SPEND:
        assert runs(rings(alarms[name])[""]) == [(20, 39)], name
        # The control: an alarm that takes silence for an empty budget.
        forgetful = alarms[name] | {"TreatMissingData": "notBreaching"}
        of_an_hour = [(20, 39)] if alarms[name]["Period"] == 3600 else [(20, 21), (28, 28)]
        assert runs(rings(forgetful)[""]) == of_an_hour, name


def test_an_alarm_rings_also_if_the_metrics_of_the_log_come_late(monkeypatch):
    """Lambda's own metrics are there, and those of the log are a period behind."""
    bad = {"panics": 1, "providerThrottles": 4, "numbersNearLock": 3, "unknownDeliveries": 5, "ledgerErrors": 3, "misconfigured": 1}
    of_lambda = [it for it in RECORDING["series"] if it["namespace"] == "AWS/Lambda"]
    monkeypatch.setitem(RECORDING, "series", of_lambda + [a_series(name, {50: value}) for name, value in bad.items()])
    alarms = part("full")["Alarm"]
    expected = {"Guesses", "UnknownDeliveries", "Throttles", "LedgerErrors", "Misconfigured", "Panics"}
    assert {name for name, it in alarms.items() if rings(it)} == expected
    assert {name for name, it in alarms.items() if rings(it, late=["otp-lambda"])} == expected
    # The control: with one period, the zeros that FILL puts in decide.
    filled = {name for name, it in alarms.items() if any("FILL(" in one.get("Expression", "") for one in it.get("Metrics", []))}
    assert filled == expected | {"FloorExceeded"}
    for name in filled:
        assert rings(alarms[name] | {"EvaluationPeriods": 1, "DatapointsToAlarm": 1}, late=["otp-lambda"]) == {}, name


def test_expressions_treat_missing_values_as_cloudwatch_does():
    assert compute("100 * a / b", {"a": None, "b": 4}) == 0 and compute("100 * a / b", {"a": 4, "b": None}) is None
    assert compute("a + b", {"a": None, "b": None}) is None and compute("a + b", {"a": None, "b": 2}) == 2
    assert compute("FILL(a, 7) + b", {"a": None, "b": 2}) == 9 and compute("IF(a >= 1 AND b < 3, 1, 0)", {"a": 1, "b": None}) == 1


def test_each_alarm_has_its_paragraph():
    section = OPERATE.split("\n## Alarms\n")[1].split("\n## ")[0]
    paragraphs = {}
    for paragraph in section.split("\n### ")[1:]:
        heading, text = paragraph.split("\n", 1)
        for name in re.findall(r"`(\w+)`", heading):
            paragraphs[name] = text
    assert list(paragraphs) == list(part("full")["Alarm"])
    for name, text in paragraphs.items():
        assert [it for it in re.findall(r"\*\*([\w ]+):\*\*", text)] == ["It means", "Look at", "Do", "Undo"], name


def test_the_saved_queries_ask_for_members_that_lines_have():
    members = {name for names in RECORDING["members"].values() for name in names}
    # The recording's ledger is in memory, so its lines lack these.
    privacy = (ROOT / "docs" / "privacy.md").read_text()
    members |= {it for it in ("ledgerMs", "ledgerRequests", "ledgerLost") if f"`{it}`" in privacy}
    queries = part("full")["QueryDefinition"]
    for name, it in queries.items():
        assert it["Name"] == f"otp-lambda/otp/{name}" and it["LogGroupNames"] == ["FunctionLogs", "TriggersLogs"]
        text = re.sub(r'"[^"]*"', "", it["QueryString"])
        made = set(re.findall(r"\bas (\w+)", text))
        words = set(re.findall(r"\b[a-z]\w*", text)) - made
        words -= {"filter", "stats", "sort", "limit", "fields", "by", "as", "and", "or", "desc", "in", "sum", "count", "max", "latest", "ispresent"}
        assert words <= members, (name, words - members)
        # A member with the name of a command stands in backticks. AWS documents `sort` with one field.
        assert re.findall(r"(?<!`)\blimit\b(?! \d)", text) == [], name
        assert all("," not in it for it in re.findall(r"\bsort\b[^|]*", text)), name
        assert f"`{name}`" in OPERATE, name
    assert part("full", pool=False)["QueryDefinition"]["QueryConversion"]["LogGroupNames"] == ["FunctionLogs"]
    # The control: a member that no line has.
    assert "failures" not in members


# Dollars a month in us-east-1.
METRIC, ALARM_METRIC, DASHBOARD = 0.30, 0.10, 3.00
# The countries with metrics of their own and `other`, without delivery events and with them.
COUNTRIES = {False: 21, True: 13}
OF_DELIVERIES = {"undelivered", "blocked"}


def dollars(detail, traffic, deliveries=False):
    """What CloudWatch takes for alarms, the dashboard, and with traffic for each metric in each hour."""
    countries, alarms = COUNTRIES[deliveries], 0
    for alarm in part(detail)["Alarm"].values():
        # A query is billed by the metrics that it finds.
        alarms += sum(countries if it.split else 1 for it in of_alarm(alarm)[0].values())
    names = [it for it in emitted(detail) if deliveries or it[1] not in OF_DELIVERIES]
    metrics = sum(countries if len(dimensions) == 2 else 1 for _, _, dimensions in names)
    assert metrics == {"basic": 10, "full": 59 if deliveries else 60}[detail]
    fixed = alarms * ALARM_METRIC + len(part(detail).get("Dashboard", {})) * DASHBOARD
    return fixed + (metrics * METRIC if traffic else 0)


def test_the_prices_on_the_page_are_computed_and_low_enough():
    for detail, most in (("basic", 5), ("full", 40)):
        idle, busy = dollars(detail, traffic=False), dollars(detail, traffic=True)
        assert f"| `{detail}` | {idle:.2f} | {busy:.2f} |" in COSTS, (detail, idle, busy)
        assert idle <= busy <= most
        # With delivery events, it is no more.
        assert dollars(detail, traffic=False, deliveries=True) <= idle
        assert dollars(detail, traffic=True, deliveries=True) <= busy


# A value for each variable of the access log, as long as AWS's.
ACCESS = {
    "requestTime": "29/Nov/2026:08:15:00 +0000",
    "requestId": "JKJaXmPLvHcESHA=",
    "routeKey": "POST /otp/verify",
    "status": "200",
    "error.responseType": "-",
    "responseLatency": "123",
    "responseLength": "245",
    "integration.status": "200",
    "integration.latency": "120",
    "integration.requestId": "8f0b4c39-17f1-4a3c-9d2e-7d3a4f0e6c11",
}


def test_the_bytes_of_the_log_on_the_pages_are_those_of_the_lines():
    """tests/front_door/recording.rs compares the recorded bytes with the lines."""
    stage = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]["Stage"]["Properties"]
    access = len(re.sub(r"\$context\.([\w.]+\w)", lambda it: ACCESS[it[1]], stage["AccessLogSettings"]["Format"]))
    for detail, (send, verify) in RECORDING["bytes"].items():
        assert f"| `{detail}` | {send} | {verify} |" in COSTS, (detail, send, verify)
    assert f"has {access} bytes more" in COSTS, access
    send, verify = RECORDING["bytes"]["off"]
    kilobytes = f"{((send + verify) / 2 + access) / 1000:.2f} KB"
    assert f"× {kilobytes} ×" in COSTS, kilobytes
    which = (ROOT / "docs" / "which.md").read_text()
    kilobytes = f"{(send + verify) / 2 / 1000:.2f} KB"
    assert f"× {kilobytes} ×" in which, kilobytes


def test_the_picture_on_the_page_is_the_dashboard_with_the_recorded_metrics():
    drawn = picture()
    assert PICTURE.read_text() == drawn, "draw it anew: target/e2e/sam/bin/python tests/e2e/dashboard.py"
    assert f"](images/{PICTURE.name})" in OPERATE
    # Each widget, each alarm and each country is in it.
    words = set(re.findall(r">([^<>]+)</text>", drawn))
    assert {it["properties"]["title"] for it in widgets()} | set(part("full")["Alarm"]) | {"US", "GB", "DE", "FR", "IN", "JM"} <= words
    # The control: with other metrics, it is another picture.
    series = next(it for it in RECORDING["series"] if it["name"] == "spend")
    window = next(iter(series["windows"].values()))
    window["sum"] += 100
    try:
        assert picture() != drawn
    finally:
        window["sum"] -= 100


def test_the_alarms_ring_on_the_recorded_day_for_what_happened():
    """From nine on the provider throttles, from ten on it loses responses, from eleven on somebody pumps messages to Jamaica,
    and at half past two the ledger does not answer. The budgets fill from hour to hour."""
    ringing = {name: rings(alarm) for name, alarm in part("full")["Alarm"].items()}
    ringing = {name: {of: [(clock(a), clock(b)) for a, b in runs(windows)] for of, windows in it.items()} for name, it in ringing.items() if it}
    assert ringing == {
        # Of the incidents. No honest country rings.
        "Throttles": {"": [("09:05", "09:20")]},
        "UnknownDeliveries": {"": [("10:10", "10:15"), ("10:25", "10:30")]},
        "CountrySpend": {"": [("11:25", "13:35")]},
        "CountryConversion": {"JM": [("12:30", "13:00")]},
        "LedgerErrors": {"": [("14:35", "14:40")]},
        # Of the budgets for all messages.
        "SpendHalf": {"": [("08:55", "09:00"), ("09:40", "10:00"), ("10:40", "11:00"), ("11:25", "12:00"), ("12:30", clock(WINDOWS - 1))]},
        "SpendMost": {"": [("11:00", "11:00"), ("11:45", "12:00"), ("12:50", "13:00"), ("14:00", "14:00"), ("17:25", clock(WINDOWS - 1))]},
        "SpendAll": {"": [("12:00", "12:00"), ("13:00", "13:00")]},
    }
    # The page tells when each of them first rings.
    section = OPERATE.split("\n## The dashboard\n")[1].split("\n## ")[0]
    for name, times in ringing.items():
        ((first, _), *_) = next(iter(times.values()))
        assert re.search(rf"`{name}`[^`]* {first.removeprefix('0')}\b", section), (name, first)
    # The controls: a threshold that nothing reaches, and one that everything reaches.
    alarm = part("full")["Alarm"]["LedgerErrors"]
    assert rings(alarm | {"Threshold": 1000}) == {} and rings(alarm | {"Threshold": 0})[""]
