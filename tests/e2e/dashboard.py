"""Draws the dashboard of deploy/parts/monitoring.yaml with the recorded metrics, as docs/images/dashboard.svg.

    target/e2e/sam/bin/python tests/e2e/dashboard.py

The drawing shows what CloudWatch would compute. CloudWatch draws it in its own way.
"""

import json
import math
from html import escape

from monitoring import RECORDING, ROOT, SECONDS, WINDOWS, Metric, compute, part, rings, rows, runs

PICTURE = ROOT / "docs" / "images" / "dashboard.svg"
COLUMN, ROW, GAP = 50, 40, 8
COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf", "#7f7f7f"]
DARK, SOFT, LINE = "#16191f", "#687078", "#e3e7ea"
BEGINS = int(RECORDING["begins"].split(":")[0])


def clock(window):
    """The time at the end of a window."""
    minutes = BEGINS * 60 + (window + 1) * SECONDS // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


def text(x, y, words, size=11, color=DARK, anchor="start", weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}">{escape(words)}</text>'


def short(value):
    if value is None:
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}".removesuffix(".0") if abs(value) < 100 else f"{value:.0f}"


def nice(value):
    """A round number that is not below."""
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.2, 2, 3, 4, 6, 8, 10) if step * power >= value * 0.999)


def values(widget, ends, seconds=None):
    """The visible lines of a widget: (label, color, whether on the right, [value of each end])."""
    found, ids = [], {}
    for it, options in rows(widget):
        if isinstance(it, Metric):
            metric = Metric(it.namespace, it.name, it.dimensions, it.stat, seconds or it.period, it.split)
            points = [metric.points(end) for end in ends]
            lines = {of: [at.get(of) for at in points] for of in sorted({of for at in points for of in at})} or {"": [None] * len(ends)}
        else:
            asked = {name: lines for name, lines in ids.items() if name in it}
            keys = sorted({of for lines in asked.values() for of in lines})
            lines = {
                of: [compute(it, {name: lines.get(of, lines.get(""))[at] for name, lines in asked.items()}) for at in range(len(ends))]
                for of in keys
            }
        ids[options.get("id")] = lines
        if options.get("visible", True):
            for of, line in lines.items():
                # The label of a search is the value of its dimension.
                label = of if of else options["label"]
                color = options.get("color") or COLORS[len(found) % len(COLORS)]
                found.append((label, color, options.get("yAxis") == "right", line))
    return found


def frame(x, y, width, height, title):
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="#ffffff" stroke="#d5dbdb"/>'
    return [box, text(x + 12, y + 20, title, 13, weight="bold")]


def legend(x, y, width, entries):
    out, at = [], x
    for label, color in entries:
        needed = 20 + 6.6 * len(label)
        if at + needed > x + width and at > x:
            at, y = x, y + 14
        out.append(f'<rect x="{at:.1f}" y="{y - 8}" width="9" height="9" rx="2" fill="{color}"/>')
        out.append(text(at + 13, y, label, 10.5, SOFT))
        at += needed
    return out


def legend_height(width, entries):
    return 14 * (max(float(it.split('y="')[1].split('"')[0]) for it in legend(0, 0, width, entries)) // 14 + 1) if entries else 0


def path(points):
    """Lines through neighbouring points, and a dot for a point that stands alone."""
    out, run = [], []
    for point in [*points, None]:
        if point:
            run.append(point)
            continue
        if len(run) > 1:
            out.append(("line", "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in run)))
        elif run:
            out.append(("dot", run[0]))
        run = []
    return out


def time_series(widget, x, y, width, height):
    properties = widget["properties"]
    step = properties["period"] // SECONDS
    ends = list(range(step - 1, WINDOWS, step))
    lines = values(widget, ends)
    marks = properties.get("annotations", {}).get("horizontal", [])
    entries = [(label, color) for label, color, *_ in lines]
    below = legend_height(width - 24, entries)
    has_right = any(on_right for _, _, on_right, _ in lines)
    left, right = x + 42, x + width - (34 if has_right else 14)
    top, bottom = y + 44, y + height - 26 - below
    out = frame(x, y, width, height, properties["title"])
    out.append(text(x + 12, y + 36, properties["yAxis"]["left"]["label"], 10, SOFT))

    if properties.get("stacked"):
        total, stacked = [0.0] * len(ends), []
        for label, color, on_right, line in lines:
            base = total
            total = [before + (value or 0) for before, value in zip(base, line)]
            stacked.append((label, color, base, total))
    on_left = [value for _, _, on_right, line in lines if not on_right for value in line if value is not None]
    if properties.get("stacked"):
        on_left = total
    highest = nice(1.05 * max([*on_left, *(it["value"] for it in marks), 1]))
    of_right = nice(max([value for _, _, on_right, line in lines if on_right for value in line if value is not None] + [1]))

    def across(end):
        return left + (right - left) * (end + 1) / WINDOWS

    def up(value, most):
        return bottom - (bottom - top) * min(value / most, 1)

    for quarter in range(5):
        at = bottom - (bottom - top) * quarter / 4
        out.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="{LINE}"/>')
        if quarter % 2 == 0:
            out.append(text(left - 5, at + 3.5, short(highest * quarter / 4), 10, SOFT, "end"))
            if has_right:
                out.append(text(right + 4, at + 3.5, short(of_right * quarter / 4), 10, SOFT))
    for window in range(-1, WINDOWS, 24):
        out.append(text(across(window), bottom + 13, clock(window), 10, SOFT, "middle"))

    if properties.get("stacked"):
        for label, color, base, above in stacked:
            points = [(across(end), up(value, highest)) for end, value in zip(ends, above)]
            points += [(across(end), up(value, highest)) for end, value in reversed(list(zip(ends, base)))]
            shape = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            out.append(f'<polygon points="{shape}" fill="{color}" fill-opacity="0.75"/>')
    else:
        for _, color, on_right, line in lines:
            most = of_right if on_right else highest
            points = [(across(end), up(value, most)) if value is not None else None for end, value in zip(ends, line)]
            for kind, it in path(points):
                if kind == "line":
                    out.append(f'<path d="{it}" fill="none" stroke="{color}" stroke-width="1.5" stroke-linejoin="round"/>')
                else:
                    out.append(f'<circle cx="{it[0]:.1f}" cy="{it[1]:.1f}" r="2.2" fill="{color}"/>')
    for mark in marks:
        at = up(mark["value"], highest)
        out.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="{mark["color"]}" stroke-dasharray="5 3"/>')
        out.append(text(left + 4, at - 3, mark["label"], 10, mark["color"]))
    return out + legend(x + 12, y + height - 6 - below + 12, width - 24, entries)


def single_value(widget, x, y, width, height):
    out = frame(x, y, width, height, widget["properties"]["title"])
    lines = values(widget, [WINDOWS - 1], seconds=WINDOWS * SECONDS)
    each = (width - 24) / len(lines)
    for nth, (label, color, _, (value,)) in enumerate(lines):
        out.append(text(x + 12 + each * nth, y + 66, short(value), 28, color))
        out.append(text(x + 12 + each * nth, y + 86, label, 11, SOFT))
    return out


def alarms(widget, x, y, width, height):
    """The state of each alarm at the end, and when it last began to ring."""
    out = frame(x, y, width, height, widget["properties"]["title"])
    names = [arn.split(":")[-1] for arn in widget["properties"]["alarms"]]
    known = part("full")["Alarm"]
    per_row = 7
    each = (width - 24 + GAP) / per_row
    for nth, name in enumerate(names):
        found = rings(known[name])
        times = runs(sorted({window for windows in found.values() for window in windows}))
        is_on = bool(times) and times[-1][1] == WINDOWS - 1
        of = ", ".join(it for it in found if it)
        left, top = x + 12 + each * (nth % per_row), y + 30 + 42 * (nth // per_row)
        fill, edge = ("#fdecea", "#d13212") if is_on else ("#f2f8f0", "#1d8102")
        out.append(f'<rect x="{left:.1f}" y="{top}" width="{each - GAP:.1f}" height="36" rx="3" fill="{fill}" stroke="{edge}"/>')
        out.append(text(left + 8, top + 15, name, 11.5, weight="bold"))
        since = f"rings since {clock(times[-1][0])}" if is_on else f"OK, last rang at {clock(times[-1][0])}" if times else "OK"
        out.append(text(left + 8, top + 29, since + (f" for {of}" if of else ""), 10, edge if is_on or not times else SOFT))
    return out


DRAWN = {"timeSeries": time_series, "singleValue": single_value}


def picture():
    (dashboard,) = part("full")["Dashboard"].values()
    widgets = json.loads(dashboard["DashboardBody"])["widgets"]
    out = []
    for it in widgets:
        place = it["x"] * COLUMN + GAP / 2, it["y"] * ROW + GAP / 2, it["width"] * COLUMN - GAP, it["height"] * ROW - GAP
        draw = alarms if it["type"] == "alarm" else DRAWN[it["properties"]["view"]]
        out += draw(it, *place)
    width, height = 24 * COLUMN, max(it["y"] + it["height"] for it in widgets) * ROW
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif">'
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="#f2f3f3"/>', *out, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(picture())
    print(PICTURE)
