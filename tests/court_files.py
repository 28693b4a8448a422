"""A court of three interpretations and one judgment, laid out as the real files are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

SIGNATURES = "\n\n大法官會議主席　院　長　王大明\n\n大法官　陳一　林二\n\n張三"
OLD = {
    "1": {
        "case_number": "釋字第1號",
        "issues": "第一題？",
        "main_text": "第一號的解釋。" + SIGNATURES,
        "opinions": "釋字第1號解釋_OCR",
    },
    "2": {
        "case_number": "釋字第2號【某案】",
        "issues": "第二題？",
        "main_text": "第二號的解釋。",
        "opinions": "本席不同意。" * 40,
    },
    "3": {"case_number": "釋字第3號", "issues": "應否補充解釋", "main_text": "第三號的解釋。", "opinions": ""},
}
NEW = {
    "111_1": {
        "case_number": "111年憲判字第1號【另案】",
        "date": "111年02月25日",
        "issue_summary": "聲請人認法律牴觸憲法。",
        "main_text": "聲請駁回。",
    }
}


def write_court(folder: Path) -> dict[str, Path]:
    """The three files in `folder`, by name."""
    old = {
        number: {**case, "date": "中華民國 41年05月21日", "reasoning": "理由" * 20 + number}
        for number, case in OLD.items()
    }
    new = {number: {**case, "reasoning": "判決理由" * 20} for number, case in NEW.items()}
    (folder / "old_cases.json").write_text(json.dumps(old, ensure_ascii=False), encoding="utf-8")
    (folder / "new_cases.json").write_text(json.dumps(new, ensure_ascii=False), encoding="utf-8")
    with zipfile.ZipFile(folder / "opinions.zip", "w") as archive:
        _add(archive, "old/2.json", "第二號的協同意見。" * 5)
        _add(archive, "new/111_1.json", "判決的不同意見。" * 5, "判決的協同意見。" * 5)
    return {name: folder / name for name in ("old_cases.json", "new_cases.json", "opinions.zip")}


def _add(archive: zipfile.ZipFile, name: str, *texts: str) -> None:
    documents = [{"title": "意見書", "url": "", "text": text} for text in texts]
    archive.writestr(name, json.dumps({"documents": documents}, ensure_ascii=False))
