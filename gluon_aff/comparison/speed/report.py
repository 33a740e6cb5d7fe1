"""Tables of what was measured, from its JSON alone."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from ...utils.tables import markdown_table
from .suites import Ratio


def ratios(wanted: Sequence[Ratio], cases: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """One record a row: label, ratio, of what, to what, and the goal; no ratio where something is missing."""
    by_name = {case["name"]: case["results"] for case in cases}
    rows = []
    for ratio in wanted:
        results = by_name.get(ratio.case, {})
        key, better = ("peak_mib", min) if ratio.memory else ("images_per_second", max)
        ours, others = ([(results[name][key], name) for name in names if name in results] for names in ratio.sides())
        value, of, to = None, None, None
        if ours and others:
            (mine, of), (theirs, to) = better(ours), better(others)
            value = mine / theirs
        rows.append({"label": ratio.label, "ratio": value, "of": of, "to": to, "goal": ratio.goal})
    return rows


def markdown(document: Dict[str, Any]) -> str:
    """The report of a measurement: machine, ratios, a table a case."""
    machine = document["machine"]
    lines = [
        f"`{document['command']}`, commit {document['commit']}, {machine['processor']}, {document['threads']} "
        f"thread(s), medians of {document['rounds']} interleaved rounds after {document['warm_up']} that do not count.",
        "",
    ]
    rows = [
        (
            row["label"],
            _number(row["ratio"]),
            row["of"] or "-",
            row["to"] or "-",
            "-" if row["goal"] is None else f"{row['goal']:g}",
        )
        for row in document["ratios"]
    ]
    lines += [*markdown_table(("ratio", "measured", "of", "to", "goal"), rows), ""]
    for case in document["cases"]:
        lines += [f"### {case['name']}: {case['network']}, batch {case['batch']}, {case['size']} pixels", ""]
        speeds = []
        for name, result in case["results"].items():
            if name == "product":
                continue
            low, high = result["spread"]
            speeds.append(
                (
                    name,
                    f"{result['images_per_second']:.1f}",
                    f"{1000 * result['median']:.1f}",
                    f"{1000 * low:.1f} - {1000 * high:.1f}",
                    f"{result['gflops']:.0f}",
                    _number(result["of_product"]),
                    f"{result['peak_mib']:.0f}",
                )
            )
        header = ("contender", "images/s", "ms", "least - most", "GFLOP/s", "of a product's", "peak MiB")
        lines += [*markdown_table(header, speeds), ""]
        product = case["results"].get("product")
        if product:
            lines += [f"A large oneDNN product reached {product['gflops']:.0f} GFLOP/s in the same run.", ""]
        lines += [f"Not measured: {name}: {why}." for name, why in case["failed"].items()]
    return "\n".join(lines).rstrip() + "\n"


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
