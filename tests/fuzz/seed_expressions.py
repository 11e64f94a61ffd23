"""Expressions to start fuzzing CESQL from, each with the byte that chooses its event: see `cesql_invariants`."""

from collections.abc import Iterator

_EXPRESSIONS = (
    "type LIKE '%.request' AND x IN ('a', \"b\")",
    "NOT EXISTS subject OR EXISTS ID XOR TRUE",
    "x NOT LIKE 'a\\_b\\%_%' AND NOT b",
    "long LIKE '%a_b%_' OR long LIKE '%ss%a%'",
    "n + 1 - -2 * 3 / 0 % +4 >= 2147483647",
    "-n = --10 <> (1 != 2)",
    "ABS(n) < INT('12') AND BOOL(b) = STRING(TRUE)",
    "CONCAT(x, long, 1, FALSE) = CONCAT_WS(',', x, long, n)",
    "UPPER(LOWER(TRIM(x))) IN (LEFT(x, 2), RIGHT(x, n), SUBSTRING(x, -1), SUBSTRING(x, 1, n))",
    "LENGTH(long) > 1 AND missing",
    "'it''s' = 'it\\'s' AND \"\"\"\" = '\"'",
    "NO_SUCH() OR (((x)))",
    "12ab = 1\n\tAND true",
)


def seeds() -> Iterator[bytes]:
    for number, expression in enumerate(_EXPRESSIONS):
        yield bytes([number % 4]) + expression.encode()
