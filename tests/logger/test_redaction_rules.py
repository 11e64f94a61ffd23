"""Rules as they are written, and the key of keyed hashes; what cannot work is refused with what to write instead."""

from pathlib import Path

import pytest

from wayside.eventing.errors import ConfigurationError
from wayside.logger.redaction.rules import Rules, parse_rule, read_key
from wayside.logger.settings import Redacted, RedactionRule, SideWork, Target


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (
            "pointer:/instances/*/ssn=mask",
            RedactionRule(Target.POINTER, "/instances/*/ssn", Redacted.MASK),
        ),
        ("pointer:/a=b/c:d=drop", RedactionRule(Target.POINTER, "/a=b/c:d", Redacted.DROP)),
        ("pointer:/=hash", RedactionRule(Target.POINTER, "/", Redacted.HASH)),
        ("column:sepal length (cm)=hash", RedactionRule(Target.COLUMN, "sepal length (cm)", Redacted.HASH)),
        ("column:a=b=drop", RedactionRule(Target.COLUMN, "a=b", Redacted.DROP)),
        ("header:X-User-Id=drop", RedactionRule(Target.HEADER, "X-User-Id", Redacted.DROP)),
    ],
)
def test_a_rule_is_read(text: str, rule: RedactionRule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "write TARGET:NAME=LEFT"),
        ("/instances/*/ssn=mask", "write TARGET:NAME=LEFT"),
        ("pointer:/a", "drop, mask or hash"),
        ("pointer:/a=erase", "drop, mask or hash"),
        ("field:a=drop", "column:age=hash"),
        ("pointer:instances=drop", "begins with '/'"),
        ("pointer:=drop", "--log-mode"),
        ("pointer:/a~b=drop", "~0"),
        ("pointer:/a~=drop", "~0"),
        ("pointer:" + "/a" * 65 + "=drop", "at most 64"),
        ("pointer:/a=mask,header:b=drop", "holds several"),
        ("column:a=mask; column:b=drop", "holds several"),
        ("column:a=hash\ncolumn:b=drop", "holds several"),
        ("column:a=mask column:b=drop", "holds several"),
        ("pointer:/a=mask,/b=mask", "holds several"),
        ("column:=drop", "its name"),
        ("header:=drop", "no name of a header"),
        ("header:X User=drop", "no name of a header"),
        ("header:Content-Type=drop", "how to read the body"),
        ("header:inference-header-content-length=mask", "how to read the body"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_with_what_to_write(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match="redaction rule") as refused:
        parse_rule(text)
    assert words in str(refused.value)


def test_rules_that_were_not_parsed_are_checked_too() -> None:
    with pytest.raises(ConfigurationError, match="begins with"):
        Rules.of([RedactionRule(Target.POINTER, "a", Redacted.DROP)])


def test_where_two_rules_have_one_name_the_one_that_leaves_less_counts() -> None:
    rules = Rules.of([parse_rule(f"{target}=" + left) for target in ("column:a", "header:A") for left in _LEFT])
    assert rules.columns == {"a": Redacted.DROP}
    assert rules.headers == {"a": Redacted.DROP}


_LEFT = ("mask", "drop", "hash")
_HASHES = (RedactionRule(Target.COLUMN, "a", Redacted.HASH),)


def test_a_key_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"0123456789abcdef\r\n")
    assert read_key(SideWork(_HASHES, path)) == b"0123456789abcdef"


def test_no_key_is_read_where_nothing_hashes(tmp_path: Path) -> None:
    assert read_key(SideWork((parse_rule("column:a=drop"),), tmp_path / "absent")) == b""


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot read"), (b"", "0 bytes"), (b"fifteen bytes !\n", "15 bytes"), (b"x" * 5000, "openssl rand")],
)
def test_a_key_that_cannot_be_used_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=words) as refused:
        read_key(SideWork(_HASHES, path))
    assert "fifteen" not in str(refused.value)


def test_a_rule_that_hashes_needs_a_key() -> None:
    with pytest.raises(ConfigurationError, match="--redact-key-file"):
        read_key(SideWork(_HASHES))
