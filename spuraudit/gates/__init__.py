"""Rules over a record and their verdict: pass, fail or not evaluated. No torch."""

from __future__ import annotations

from spuraudit.gates.config import Config, find_config, load_config
from spuraudit.gates.judge import accept, check_rules, judge
from spuraudit.gates.rules import format_rule, parse_rule

__all__ = ["Config", "accept", "check_rules", "find_config", "format_rule", "judge", "load_config", "parse_rule"]
