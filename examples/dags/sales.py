"""What the tasks of etl.yaml do. Rows travel in files of the run's own folder; tasks tell each other where."""

import csv
import json
import tempfile
from collections import defaultdict
from pathlib import Path

DATA = Path(__file__).parent / "data"


def extract(run_id, **_):
    """Copies the sources to a folder of the run, and returns its path."""
    folder = Path(tempfile.mkdtemp(prefix="orders-"))
    for name in ("orders.csv", "countries.csv"):
        (folder / name).write_bytes((DATA / name).read_bytes())
    print(f"run {run_id}: sources are in {folder}")
    return str(folder)


def clean(folder):
    """Keeps the rows that can be read, with their taxes; returns how many were kept and dropped."""
    folder = Path(folder)
    with open(folder / "countries.csv", newline="") as file:
        taxes = {row["country"]: int(row["vat_percent"]) for row in csv.DictReader(file)}
    kept, dropped = [], 0
    with open(folder / "orders.csv", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                net = int(row["quantity"]) * int(row["price_cents"])
                kept.append({"country": row["country"], "product": row["product"], "net": net, "vat": net * taxes[row["country"]] // 100})
            except (KeyError, TypeError, ValueError) as error:
                dropped += 1
                print(f"line {number} is dropped: {error!r}")
    (folder / "clean.json").write_text(json.dumps(kept))
    return {"kept": len(kept), "dropped": dropped}


def has_rows(folder):
    """Whether there is anything to report."""
    return len(_rows(folder)) > 0


def by_country(folder):
    """Gross sales by country, in cents."""
    return _totals(folder, "country")


def by_product(folder, top):
    """The products that sold best, in cents."""
    totals = _totals(folder, "product")
    return dict(sorted(totals.items(), key=lambda item: -item[1])[: int(top)])


def report(folder, output, title, ti):
    """Writes the report and returns its path."""
    lines = [title, ""]
    for heading, task_id in (("By country", "by_country"), ("Best products", "by_product")):
        lines.append(heading)
        totals = ti.xcom_pull(task_ids=task_id)
        lines += [f"  {name:<10}{cents / 100:>12.2f}" for name, cents in totals.items()]
        lines.append("")
    path = Path(output or folder) / "report.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))
    return str(path)


def _rows(folder):
    return json.loads((Path(folder) / "clean.json").read_text())


def _totals(folder, column):
    totals = defaultdict(int)
    for row in _rows(folder):
        totals[row[column]] += row["net"] + row["vat"]
    return dict(sorted(totals.items()))
