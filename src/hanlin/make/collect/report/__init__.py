"""The corpus's report: what is in it, what was dropped and why. report.json for programs, report.md and report.html
for people."""

from hanlin.make.collect.report.markdown import as_markdown
from hanlin.make.collect.report.page import as_html
from hanlin.make.collect.report.summary import metrics_of, summarise

__all__ = ["as_html", "as_markdown", "metrics_of", "summarise"]
