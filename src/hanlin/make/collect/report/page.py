"""report.html: the corpus as people see it, one file, made from report.json alone. Rows may hold anything: all of it
is escaped, and the page's own policy lets nothing be fetched or run."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from hanlin.core.run.numbers import count, percent
from hanlin.core.run.page import document, section
from hanlin.make.collect.report.charts import Bar, bars, histogram, rows_and_share, span_of
from hanlin.make.collect.report.rows_shown import before_and_after, card
from hanlin.make.collect.report.summary import metrics_of
from hanlin.make.collect.report.tally import LENGTHS
from hanlin.make.collect.report.words import (
    KINDS,
    LANGUAGES,
    REASONS,
    SCRIPTS,
    SPLITS,
    STEPS,
    both,
    heading,
    meanings,
    subject,
)

NUM_SKIPPED, MOST_LINES = 12, 40
NUM_NAMES, NUM_MEASURES = 15, 4
"""Lines of a table before the rest is folded away, and measures of a step before all of them are."""


def as_html(report: dict[str, Any]) -> str:
    """The whole page."""
    style = (Path(__file__).parent / "corpus.css").read_text(encoding="utf-8")
    dropped = "".join(_dropped(reason, rows, report) for reason, rows in report["dropped_samples"].items())
    parts = [
        _head(report),
        section(heading("漏斗", "Funnel"), _funnel(report)),
        section(heading("長度", "Lengths"), _lengths(report["lengths"])),
        section(heading("繁簡與語言", "Script and language"), _script(report)),
        section(heading("來源", "Sources"), _sources(report["sources"])),
        section(heading("混合", "Mixture"), _mix(report.get("mix", []))),
        section(heading("種類與年代", "Types and decades"), _types(report)),
        section(heading("找到的", "Found by the steps"), _found(report["found"])),
        section(heading("量到的", "Measured by the steps"), _measured(report["measured"])),
        section(heading("重複最多的", "Largest clusters of duplicates"), _clusters(report["clusters"])),
        section(heading("轉換前後", "Before and after"), _changed(report)),
        section(heading("隨機抽出的資料", "Kept rows, drawn by chance"), "".join(map(card, report["samples"]))),
        section(heading("被排除的資料", "Dropped rows, drawn by chance"), dropped),
        _foot(),
    ]
    return document("翰林：語料報告", parts, style)


def _head(report: dict[str, Any]) -> str:
    metrics = metrics_of(report)
    rows, read = metrics["rows"], report["rows_read"]
    traditional = percent(metrics["traditional_share"], 2) if report["script"]["han"] else "—"
    tiles = [
        ("留下", f"{rows:,}", f"{KINDS.get(report['kind'], '列')}，讀入 {read:,} 列"),
        ("字數", count(metrics["characters"], "字"), f"平均 {count(metrics['characters'] / max(rows, 1), '字')}"),
        ("保留考題", f"{metrics['heldout_rows']:,}", f"{count(metrics['heldout_characters'], '字')}，不拿來訓練"),
        ("繁體", traditional, f"每千字 {metrics['simplified_per_1000']:.2f} 個簡體字"),
    ]
    shown = "".join(
        f'<div class="tile"><span>{name}</span><strong>{value}</strong><span>{unit}</span></div>'
        for name, value, unit in tiles
    )
    return (
        '<header>\n<div class="seal" aria-hidden="true"><span>翰</span><span>林</span></div>\n'
        f"<h1>{heading('語料報告', 'Corpus report')}</h1>\n"
        '<p class="lead">這份語料從哪裡來、每一步留下什麼、為什麼排除。'
        "模型會學成這些文字的樣子：訓練前，請讀一讀下面隨機抽出的資料。</p>\n"
        f'<div class="tiles">{shown}</div>\n</header>'
    )


def _funnel(report: dict[str, Any]) -> str:
    steps = [step for step in report["steps"] if step["rows_in"] or step["rows_out"]]
    rows = [_funnel_bar(step) for step in steps]
    told = {reason for step in steps for reason in step["dropped"]}
    late = {
        reason: [report["dropped"][reason], report["dropped_characters"][reason]]
        for reason in report["dropped"]
        if reason not in told
    }
    metrics = metrics_of(report)
    splits = "，".join(f"{SPLITS[name]} {counts['rows']:,}" for name, counts in report["splits"].items())
    final = Bar(
        heading("留下", "kept"),
        (("in", metrics["rows"]), ("out", sum(rows for rows, _ in late.values()))),
        f"<b>{metrics['rows']:,}</b> <small>{count(metrics['characters'], '字')}</small>",
        _reasons(late) + f"<span>{splits}</span>",
    )
    note = '<p class="small">紅色是那一步排除的。旁邊是留下的列數和字數。</p>\n' if report["dropped"] else ""
    return note + bars([*rows, final], "funnel")


def _funnel_bar(step: dict[str, Any]) -> Bar:
    gone = sum(rows for rows, _ in step["dropped"].values())
    gone_characters = sum(characters for _, characters in step["dropped"].values())
    new = step["rows_out"] + gone - step["rows_in"]
    changed = step["characters_out"] + gone_characters - step["characters_in"]
    notes = [
        f"多了 {new:,} 列" if new > 0 else "",
        f"改動後{'多' if changed > 0 else '少'}了 {count(abs(changed), '字')}",
    ]
    below = _reasons(step["dropped"]) + "".join(
        f"<span>{text}　</span>" for text in notes[: 2 if changed else 1] if text
    )
    return Bar(
        both(STEPS, step["step"]),
        (("in", step["rows_out"]), ("out", gone)),
        f"<b>{step['rows_out']:,}</b> <small>{count(step['characters_out'], '字')}</small>",
        below,
    )


def _reasons(dropped: dict[str, list[int]]) -> str:
    most = sorted(dropped.items(), key=lambda entry: -entry[1][0])
    return "".join(
        f'<span class="reason">−{rows:,} {both(REASONS, reason)} <small>{count(characters, "字")}</small></span>'
        for reason, (rows, characters) in most[:MOST_LINES]
    )


def _lengths(lengths: list[dict[str, int]]) -> str:
    total = sum(entry["rows"] for entry in lengths)
    rows = []
    for entry in lengths:
        place = LENGTHS.index(entry["from"])
        end = LENGTHS[place + 1] if place + 1 < len(LENGTHS) else None
        label = f"{span_of(entry['from'], end)} 字"
        rows.append(Bar(label, (("in", entry["rows"]),), rows_and_share(entry["rows"], total)))
    return bars(rows)


def _script(report: dict[str, Any]) -> str:
    script = report["script"]
    return (
        _bars_of(script["rows"], script["characters"], SCRIPTS)
        + (_bars_of(*_rows_and_characters(report["languages"]), LANGUAGES) if [*report["languages"]] != [""] else "")
        + f'<p class="small">每一列看的是只有一種字體才用的字：繁體 {script["traditional"]:,} 個，'
        f"簡體 {script['simplified']:,} 個（漢字共 {script['han']:,} 個）。少數派不到 5 % 就不算混用。</p>"
    )


def _rows_and_characters(figures: dict[str, Any]) -> tuple[dict[str, int], dict[str, int]]:
    rows = {name: counts["rows"] for name, counts in figures.items()}
    return rows, {name: counts["characters"] for name, counts in figures.items()}


def _bars_of(rows: dict[str, int], characters: dict[str, int], words: dict[str, str]) -> str:
    total = sum(rows.values())
    return bars(
        [
            Bar(both(words, name), (("in", number),), rows_and_share(number, total), count(characters[name], "字"))
            for name, number in list(rows.items())[:MOST_LINES]
        ]
    )


def _sources(sources: list[dict[str, Any]]) -> str:
    cards = []
    for source in sources:
        skipped = "、".join(f"{n:,} × {escape(name)}" for name, n in list(source["skipped"].items())[:NUM_SKIPPED])
        if len(source["skipped"]) > NUM_SKIPPED:
            skipped += f"…（共 {len(source['skipped']):,} 種）"
        facts = [
            ("授權", escape(source["licence"]) or "沒有寫明"),
            ("檔案", f"{source['files']:,}"),
            ("讀入", f"{source['rows']:,} 列"),
            ("沒有讀", skipped),
        ]
        shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts if value)
        left = source["num_notes"] - len(source["notes"])
        notes = [*map(escape, source["notes"]), *([f"…還有 {left:,} 則"] if left > 0 else [])]
        listed = f"<ul class='small'>{''.join(f'<li>{note}</li>' for note in notes)}</ul>" if notes else ""
        cards.append(f"<article><h3><code>{escape(source['address'])}</code></h3><dl>{shown}</dl>{listed}</article>")
    return f'<div class="stages">{"".join(cards)}</div>'


def _mix(portions: list[dict[str, Any]]) -> str:
    return bars(
        [
            Bar(
                escape(portion["source"]),
                (("in", portion["share"]),),
                f"<b>{percent(portion['share'])}</b> <small>讀 {portion['epochs']:.3g} 次</small>",
                f"原有 {count(portion['size'], '個詞元' if portion['unit'] == 'tokens' else '字')}",
            )
            for portion in portions
        ]
    )


def _types(report: dict[str, Any]) -> str:
    types: dict[str, tuple[int, int]] = {
        name: (
            counts.get("train_rows", 0) + counts.get("heldout_rows", 0),
            counts.get("train_characters", 0) + counts.get("heldout_characters", 0),
        )
        for name, counts in report["types"].items()
    }
    decades: dict[str, tuple[int, int]] = {
        name: (counts["rows"], counts["characters"]) for name, counts in sorted(report["decades"].items())
    }
    return _table(("種類", "列", "字"), types) + (
        _table(("年代", "列", "字"), decades) if [*decades] != ["unknown"] else ""
    )


def _table(head: tuple[str, ...], rows: dict[str, tuple[int, int]]) -> str:
    first, *others = head
    heads = f'<th scope="col" style="text-align:left">{first}</th>' + "".join(
        f'<th scope="col">{n}</th>' for n in others
    )
    lines = [
        f'<tr><th scope="row">{escape(name) or "—"}</th>{"".join(f"<td>{cell:,}</td>" for cell in cells)}</tr>'
        for name, cells in rows.items()
    ]
    left = len(lines) - MOST_LINES
    more = f'<p class="small">…還有 {left:,} 種，都在 report.json</p>' if left > 0 else ""
    body = "".join(lines[:MOST_LINES])
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{more}'


def _found(found: dict[str, Any]) -> str:
    cards = []
    for name, figures in found.items():
        known = meanings(name)
        names = [*figures["kept"], *(other for other in figures["dropped"] if other not in figures["kept"])]
        lines = [
            f'<tr><th scope="row">{escape(known.get(each, each))}</th><td>{figures["kept"].get(each, 0):,}</td>'
            f"<td>{figures['dropped'].get(each, 0):,}</td></tr>"
            for each in names
        ]
        head = '<thead><tr><td></td><th scope="col">留下的</th><th scope="col">排除的</th></tr></thead>'
        shown, folded = _lines(head, lines[:NUM_NAMES]), _lines(head, lines[NUM_NAMES:])
        rest = f"<details><summary>其餘 {len(lines) - NUM_NAMES} 項</summary>{folded}</details>" if folded else ""
        total = f"留下的資料中有 {figures['rows']:,} 列，共 {figures['total']:,} 次，{figures['names']:,} 種。"
        cards.append(f'<article class="found"><h3>{subject(name)}</h3><p>{total}</p>{shown}{rest}</article>')
    return f'<div class="measures">{"".join(cards)}</div>' if cards else ""


def _lines(head: str, lines: list[str]) -> str:
    return f"<table>{head}<tbody>{''.join(lines)}</tbody></table>" if lines else ""


def _measured(measured: dict[str, Any]) -> str:
    cards: dict[str, list[str]] = {}
    for name, figures in measured.items():
        said = "　".join(
            f"{title} {figures[of]['rows']:,} 列，中位數 {figures[of]['median']:.3g}"
            for of, title in (("kept", "留下"), ("dropped", "排除"))
            if of in figures
        )
        drawn = histogram(figures["edges"], figures["kept_bins"], figures["dropped_bins"])
        shown = f'<article class="measure"><h3>{subject(name)}</h3><p>{said}</p>{drawn}</article>'
        cards.setdefault(name.partition(": ")[0], []).append(shown)
    few = "".join(card for of_step in cards.values() if len(of_step) <= NUM_MEASURES for card in of_step)
    many = "".join(
        f"<details><summary>{subject(step)}：{len(of_step)} 項</summary>"
        f'<div class="measures">{"".join(of_step)}</div></details>'
        for step, of_step in cards.items()
        if len(of_step) > NUM_MEASURES
    )
    return (f'<div class="measures">{few}</div>' if few else "") + many


def _clusters(clusters: list[dict[str, Any]]) -> str:
    blocks = []
    for cluster in clusters:
        kept = card(cluster["row"]) if cluster["row"] else ""
        members = "".join(map(card, cluster["members"]))
        shown = f"，這裡是其中 {len(cluster['members'])} 列" if cluster["dropped"] > len(cluster["members"]) else ""
        blocks.append(
            f"<details><summary>{escape(cluster['id'])}：排除了 {cluster['dropped']:,} 列</summary>"
            f"<h3>留下的</h3>{kept}<h3>排除的{shown}</h3>{members}</details>"
        )
    return "\n".join(blocks)


def _changed(report: dict[str, Any]) -> str:
    if not report["changed"]:
        return ""
    lead = f'<p class="small">{report["changed"]:,} 列轉換過，原文都在資料列的 notes 裡。這裡是隨機抽出的幾列。</p>'
    return lead + "".join(map(before_and_after, report["changed_samples"]))


def _dropped(reason: str, rows: Iterable[dict[str, Any]], report: dict[str, Any]) -> str:
    number = f"{report['dropped'][reason]:,} 列，{count(report['dropped_characters'][reason], '字')}"
    return f"<details><summary>{both(REASONS, reason)}：{number}</summary>{''.join(map(card, rows))}</details>"


def _foot() -> str:
    return (
        "<footer>\n<p>更多資料列：<code>hanlin show data PATH n=20</code>；被排除的："
        "<code>hanlin show data PATH reason=duplicate</code>；來歷：<code>hanlin lineage PATH</code>。"
        "數字也在 <code>report.json</code>。</p>\n</footer>"
    )
