"""Each alarm of deploy/parts/monitoring.yaml rings by its cause and by nothing else, and honest people ring none.

`tests/simulation/drills.rs` runs the function in virtual time and writes the metrics that this file reads:

    cargo test --workspace --test simulation -- --ignored drills::
    target/e2e/sam/bin/python -m pytest tests/e2e/test_drills.py
"""

import json
from functools import cache

import pytest
from alarms import FURTHER_PERIODS, Metrics, decide, ringing
from monitoring import ROOT, part

OPERATE = (ROOT / "docs" / "operate.md").read_text()
FOLDER = ROOT / "target" / "tmp" / "drills"
ALARMS = part("full")["Alarm"]

# The cause, the end of it or what the operator does then, and the alarms that it explains.
DRILLS = {
    "pumping": (
        "somebody has six messages a minute sent to Jamaica",
        "after an hour: `make block PREFIX=+1876`",
        ["Conversion", "CountrySpend", "CountryConversion", "SpendHalf"],
    ),
    "customers": ("many customers come, and a budget is too small for them", "a larger budget in `Budgets`", ["SpendHalf", "SpendMost", "SpendAll"]),
    "customers-of-a-country": ("many customers of a country with a budget of its own", "a larger budget in `CountryLimits`", ["CountrySpend"]),
    "no-arrival": ("no message arrives for an hour, and people ask again", "it ends", ["Conversion", "CountryConversion"]),
    "no-arrival-in-a-country": ("no message to the United Kingdom arrives for two hours", "it ends", ["CountryConversion"]),
    "guessing": ("somebody guesses at 14 numbers at once", "it ends", ["Guesses"]),
    "guessing-in-step": ("somebody guesses at three numbers for two days, and begins with all at once", "it ends", ["Guesses"]),
    "guessing-apart": ("somebody guesses at three numbers for two days, and begins with each five hours after the one before", "it ends", []),
    "lost-responses": ("the provider's responses get lost", "it ends", ["UnknownDeliveries"]),
    "provider-throttles": ("the provider refuses sends, because there are too many", "it ends", ["Throttles"]),
    "lambda-throttles": ("Lambda refuses invocations, because there are too many", "it ends", ["Throttles"]),
    "table-refuses": ("DynamoDB refuses each request", "it ends", ["LedgerErrors"]),
    "silent-table": ("DynamoDB does not answer", "it ends", ["LedgerErrors", "SignInsSlow"]),
    "permission": ("the role may not send messages any more", "the permission", ["Misconfigured"]),
    "panic": ("a defect ends each request", "the version of before", ["Panics"]),
    "no-start": ("the function does not start", "the version of before", ["Panics"]),
    "slow-table": ("DynamoDB takes a third of a second for each request", "it ends", ["SignInsSlow", "LedgerErrors"]),
    "slow-provider": ("the provider takes 1.7 seconds, and twelve people sign in in an hour", "it ends", ["SignInsSlow"]),
    "over-the-floor": ("the provider takes a second, and 30 people sign in in an hour", "it ends", ["FloorExceeded"]),
}
# An alarm that ends while its cause lasts.
EARLIER = "before the end"
QUIET = ["quiet-nobody", "quiet-small", "quiet-middle"]


@cache
def recorded(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


@cache
def metrics(name):
    return Metrics(recorded(name))


def rings(name, alarms=ALARMS, further=FURTHER_PERIODS):
    """The alarms that ring in a drill: {name: the minutes of all that it names, the first and the last of each time}."""
    found = {alarm: ringing(it, metrics(name), further) for alarm, it in alarms.items()}
    return {alarm: [run for runs in it.values() for run in runs] for alarm, it in found.items() if it}


def measured(name):
    """{alarm: minutes from the cause until it rings, and from the end of the cause until it is quiet}, the first first."""
    drill = recorded(name)
    found = rings(name)
    begins, ends = drill["starts"] + drill["begins"], drill["starts"] + drill["ends"]
    minutes = {}
    for alarm in sorted(found, key=lambda it: min(found[it])):
        first, last = min(found[alarm])[0], max(run[1] for run in found[alarm])
        assert first >= begins, (name, alarm, first)
        # A minute is over when it counts. At the end of the drill, the alarm is quiet.
        assert last + 1 < drill["starts"] + drill["minutes"], (name, alarm)
        minutes[alarm] = first + 1 - begins, last + 2 - ends
    return minutes


def row(name, minutes):
    """The row that the page should have."""
    cause, end, _ = DRILLS[name]
    names = ", ".join(f"`{alarm}`" for alarm in minutes) or "none"
    rung = ", ".join(str(it) for it, _ in minutes.values()) or "–"
    quiet = ", ".join(str(it) if it > 0 else EARLIER for _, it in minutes.values()) or "–"
    return f"| {cause} | {names} | {rung} | {end} | {quiet} |"


def read(line):
    """What a row of the page says: the cause, the end, and the minutes of each alarm. 0: quiet before the end."""
    cause, names, rung, end, quiet = (it.strip() for it in line.strip("|").split(" | "))
    if names == "none":
        assert rung == quiet == "–", line
        return cause, end, {}
    cells = zip(*(it.split(", ") for it in (names, rung, quiet)), strict=True)
    return cause, end, {name.strip("`"): (int(first), 0 if last == EARLIER else int(last)) for name, first, last in cells}


def is_near(here, there):
    """Whether two numbers of minutes differ as two runs with other random people may."""
    here, there = max(here, 0), max(there, 0)
    return abs(here - there) <= max(2, 0.1 * max(here, there))


def agrees(line, name, minutes):
    cause, end, of_page = read(line)
    if (cause, end) != DRILLS[name][:2] or set(of_page) != set(minutes):
        return False
    return all(is_near(here, there) for alarm in minutes for here, there in zip(of_page[alarm], minutes[alarm]))


def rows():
    section = OPERATE.split("\n### Drills\n")[1].split("\n#")[0]
    return [it for it in section.split("\n") if it.startswith("| ")][1:]


@pytest.mark.parametrize("name", DRILLS)
def test_a_cause_rings_its_alarms_after_the_minutes_on_the_page_and_no_other(name):
    minutes = measured(name)
    assert sorted(minutes) == sorted(DRILLS[name][2]), row(name, minutes)
    assert any(agrees(it, name, minutes) for it in rows()), f"The page should have:\n{row(name, minutes)}"


def test_a_row_may_differ_by_two_minutes_or_a_tenth_and_in_nothing_else():
    cause, end, _ = DRILLS["pumping"]
    minutes = {"Conversion": (22, 13), "SpendHalf": (100, -500)}
    line = row("pumping", minutes)
    assert line == f"| {cause} | `Conversion`, `SpendHalf` | 22, 100 | {end} | 13, before the end |"
    assert agrees(line, "pumping", minutes)
    for here, there in ((" 22,", " 20,"), (", 100 ", ", 110 "), ("| 13,", "| 15,"), (EARLIER, "2")):
        assert line.count(here) == 1 and agrees(line.replace(here, there), "pumping", minutes), there
    for here, there in ((" 22,", " 19,"), (", 100 ", ", 112 "), ("| 13,", "| 16,"), (EARLIER, "3"), ("six", "seven"), ("1876", "1877"), ("Conv", "CountryConv")):
        assert line.count(here) == 1 and not agrees(line.replace(here, there), "pumping", minutes), there
    fewer = row("pumping", {"Conversion": (22, 13)})
    assert not agrees(fewer, "pumping", minutes) and not agrees(row("pumping", {}), "pumping", minutes)
    assert agrees(row("guessing-apart", {}), "guessing-apart", {})


def test_every_alarm_has_a_drill_and_the_page_has_no_further_row():
    assert {alarm for _, _, expected in DRILLS.values() for alarm in expected} == set(ALARMS)
    assert sorted(read(it)[0] for it in rows()) == sorted(cause for cause, _, _ in DRILLS.values())
    assert {it.stem for it in FOLDER.glob("*.json")} == {*DRILLS, *QUIET}


# In AWS's examples, CloudWatch looks two periods further. It may also look farther, or at no others.
@pytest.mark.parametrize("further", [0, FURTHER_PERIODS, 5])
@pytest.mark.parametrize("name", QUIET)
def test_honest_people_ring_nothing(name, further):
    assert rings(name, further=further) == {}


def test_the_quiet_days_have_failures_and_are_long_enough():
    """The controls of the quiet days."""
    for name, days, invocations in (("quiet-small", 30, 4000), ("quiet-middle", 7, 9000)):
        assert recorded(name)["minutes"] >= days * 24 * 60
        totals = {}
        for it in recorded(name)["series"]:
            totals[it["name"]] = totals.get(it["name"], 0) + sum(values[1] for values in it["minutes"].values())
        assert totals["Invocations"] >= invocations and totals["wrongGuesses"] > 100, totals
        assert 0.7 < totals["verified"] / totals["sent"] < 0.9, totals
        assert sum(totals.get(it, 0) for it in ("unknownDeliveries", "providerThrottles")) > 0, totals
    assert recorded("quiet-nobody")["series"] == []
    # Each alarm looks at metrics that these days have, unless these only count failures.
    for name, alarm in ALARMS.items():
        rung = ringing(alarm | {"Threshold": -1, "ComparisonOperator": "GreaterThanOrEqualToThreshold"}, metrics("quiet-middle"))
        assert rung, name


# --- the drills find an alarm that is wrong ---------------------------------------------------------------------------


def changed(alarm, change):
    return json.loads(json.dumps(alarm).replace(*change))


@pytest.mark.parametrize(
    "drill, name, change",
    [
        # Deaf: another threshold, dimension, metric, function, statistic or condition.
        ("customers", "SpendAll", ('"Threshold": 100', '"Threshold": 101')),
        ("table-refuses", "LedgerErrors", ('"Value": "otp"', '"Value": "otp-2"')),
        ("permission", "Misconfigured", ('"misconfigured"', '"Misconfigured"')),
        ("lambda-throttles", "Throttles", ('"Value": "otp-', '"Value": "other-')),
        ("no-arrival-in-a-country", "CountryConversion", ("AVG(verified)", "AVG(sent)")),
        ("slow-provider", "SignInsSlow", ('"Threshold": 2000', '"Threshold": 4000')),
        ("guessing-in-step", "Guesses", (">= 3 OR", ">= 4 OR")),
    ],
)
def test_a_deaf_alarm_is_noticed(drill, name, change):
    deaf = changed(ALARMS[name], change)
    assert deaf != ALARMS[name]
    assert name in rings(drill) and name not in rings(drill, {name: deaf})


@pytest.mark.parametrize(
    "name, change",
    [
        ("Conversion", ("IF(sent >= 20,", "IF(sent >= 1,")),
        ("CountryConversion", ('"DatapointsToAlarm": 12', '"DatapointsToAlarm": 4')),
        ("SpendHalf", ('"Threshold": 50', '"Threshold": 30')),
        ("UnknownDeliveries", ('"Threshold": 5', '"Threshold": 1')),
        ("SignInsSlow", ("over >= 4 AND", "over >= 2 AND")),
    ],
)
def test_a_noisy_alarm_is_noticed(name, change):
    noisy = changed(ALARMS[name], change)
    assert noisy != ALARMS[name]
    assert rings("quiet-middle", {name: noisy})


def test_an_alarm_that_is_not_understood_is_an_error():
    for name, more in (
        ("SpendAll", {"ThresholdMetricId": "m"}),
        ("SpendAll", {"TreatMissingData": "missing"}),
        ("SpendAll", {"ComparisonOperator": "LessThanLowerThreshold"}),
        ("SpendAll", {"ActionsEnabled": False}),
    ):
        with pytest.raises(AssertionError):
            ringing(ALARMS[name] | more, metrics("quiet-nobody"))
    for change in (("FILL(", "RATE("), ('"ReturnData"', '"AccountId": "1", "ReturnData"'), ('"Stat"', '"Unit": "Count", "Stat"')):
        with pytest.raises(AssertionError):
            ringing(changed(ALARMS["LedgerErrors"], change), metrics("quiet-nobody"))
    with pytest.raises(AssertionError):
        ringing(changed(ALARMS["CountryConversion"], ("ORDER BY AVG() ASC", "LIMIT 5")), metrics("quiet-nobody"))


# --- the rules of CloudWatch's documentation ---------------------------------------------------------------------------

# Its tables, of an alarm with three periods that looks at five: the values (0 is good, X is bad, - is missing, the newest
# is the last), how many must be bad, and whether the alarm rings if missing values are ignored, breaching or not
# breaching. None: the state stays.
TABLES = [
    ("0-X-X", 3, False, False, False),
    ("0----", 3, False, False, False),
    ("-----", 3, None, True, False),
    ("0XX-X", 3, True, True, True),
    ("--X--", 3, None, True, False),
    ("0-X-X", 2, True, True, True),
    ("00X0X", 2, True, True, True),
    ("0-X--", 2, False, True, False),
    ("----0", 2, False, True, False),
    ("---X-", 2, None, True, False),
]


@pytest.mark.parametrize("values, needed, ignored, breaching, good", TABLES)
def test_missing_values_count_as_in_the_tables_of_the_documentation(values, needed, ignored, breaching, good):
    points = [{"0": 0, "X": 1, "-": None}[it] for it in reversed(values)]
    for before in (False, True):
        for treat, expected in (("ignore", before if ignored is None else ignored), ("breaching", breaching), ("notBreaching", good)):
            assert decide(points, 3, needed, lambda it: it > 0, treat, before) == expected, treat


def an_alarm(**more):
    return {
        "Namespace": "n", "MetricName": "m", "Dimensions": [], "Statistic": "Sum", "Period": 300, "EvaluationPeriods": 1, "Threshold": 2,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold", "TreatMissingData": "notBreaching", **more,
    }  # fmt: skip


def some_metrics(minutes, length=60, **dimensions):
    values = {str(minute): it if isinstance(it, list) else [1, it, it] for minute, it in minutes.items()}
    return Metrics({"starts": 0, "minutes": length, "series": [{"namespace": "n", "name": "m", "dimensions": dimensions, "minutes": values}]})


def test_an_alarm_is_evaluated_every_minute_with_the_minutes_until_then():
    # At the end of minute 5, a period of five minutes has the minutes 1 to 5.
    assert ringing(an_alarm(), some_metrics({10: 1, 14: 1}), further=0) == {"": [(14, 14)]}
    assert ringing(an_alarm(), some_metrics({10: 1, 15: 1}), further=0) == {}
    # While no newer values come, the last ones count again for some periods.
    assert ringing(an_alarm(), some_metrics({10: 2}), further=2) == {"": [(10, 24)]}
    assert ringing(an_alarm(), some_metrics({10: 2, 16: 0}), further=2)[""][0] == (10, 15)


def test_the_statistics_of_a_period():
    two = {10: [2, 3, 2.5], 12: [1, 7, 7]}
    for stat, expected in (("Sum", 10), ("Average", 10 / 3), ("Maximum", 7)):
        found = some_metrics(two).line(stat, 5, {int(at): it for at, it in two.items()})
        assert found[12] == found[14] == expected and found[9] is None and found[17] is None, stat
    times = {10: [3, 0, 0, [10, 20, 90]], 11: [7, 0, 0, [30, 40, 50, 60, 70, 80, 100]]}
    assert some_metrics(times).line("p90", 5, times)[11] == 90 and some_metrics(times).line("p50", 5, times)[11] == 50
    # Another dimension is another metric.
    assert ringing(an_alarm(), some_metrics({10: 5}, a="b")) == {}
