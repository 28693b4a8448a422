"""Numbers as a reader in Taiwan writes them."""

from __future__ import annotations


def count(number: float, unit: str = "") -> str:
    """2,614 字 · 38.8 萬字 · 525 萬字 · 3.2 億字"""
    if number >= 1e8:
        return f"{number / 1e8:,.1f} 億{unit}"
    if number >= 1e6:
        return f"{number / 1e4:,.0f} 萬{unit}"
    return f"{number / 1e4:,.1f} 萬{unit}" if number >= 1e4 else f"{number:,.0f} {unit}".strip()


def duration(seconds: float) -> str:
    """48 秒 · 5 分 3 秒 · 2 小時 10 分"""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} 秒" if seconds < 10 else f"{whole} 秒"
    if whole < 3600:
        return f"{whole // 60} 分" + (f" {whole % 60} 秒" if whole % 60 else "")
    return f"{whole // 3600} 小時 {whole % 3600 // 60} 分"


def size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def choices(bits: float) -> str:
    """A model that needs `bits` for a character is as unsure as someone who guesses among 2^bits characters."""
    among = 2**bits
    return f"{among:,.0f}" if among >= 10 else f"{among:.1f}"


def divergence(nats: float) -> str:
    """A KL in nats with four decimals; smaller ones in words."""
    return f"{nats:.4f}" if nats >= 0.00005 or nats == 0 else "不到 0.0001"
