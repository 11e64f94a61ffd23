"""Names that are the same on every machine, and the keys that windows are kept by."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from wayside.eventing.event import CloudEvent
from wayside.eventing.identity import EventIds, client_text, mint_event_id, record_id, stable_id
from wayside.eventing.vocabulary import ServiceKey

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_PARTS = st.lists(_TEXT | st.integers())


def test_a_name_is_the_same_for_ever() -> None:
    assert record_id("/s", "1", 0) == stable_id("record", "/s", "1", 0)
    assert stable_id("a", 1) == "135f17a475a61afdeeaf3759ad2e45ad1c7abb192395abe47e41fc8e395dc1a9"


@given(_PARTS, _PARTS)
def test_two_lists_of_parts_never_share_a_name(one: list[str | int], other: list[str | int]) -> None:
    assert (stable_id(*one) == stable_id(*other)) is (one == other)


def test_parts_do_not_run_together() -> None:
    assert len({stable_id("a", "bc"), stable_id("ab", "c"), stable_id("abc"), stable_id("a,bc"), stable_id("1")}) == 5
    assert stable_id(1) != stable_id("1")


def test_minted_ids_differ() -> None:
    assert len({mint_event_id() for _ in range(100)}) == 100


def test_ids_drawn_many_at_once_are_uuids_of_version_4_and_differ() -> None:
    ids = EventIds()
    minted = [ids.mint() for _ in range(500)]
    assert len(set(minted)) == 500
    for text in minted:
        read = UUID(text)
        assert (str(read), read.version, read.variant) == (text, 4, RFC_4122)
    digits = [set(column) for column in zip(*minted, strict=True)]
    assert all(len(found) == (4 if at == 19 else 16) for at, found in enumerate(digits) if len(found) > 1)


@given(st.text())
def test_a_clients_text_is_short_printable_ascii(value: str) -> None:
    text = client_text(value, limit=16)
    assert len(text) == min(16, len(value))
    assert all("!" <= character <= "~" for character in text)


_KEYS = st.builds(ServiceKey, *(st.text("a/%2F5", max_size=4) for _ in range(4)))


@given(_KEYS, _KEYS)
def test_two_services_never_share_a_line(one: ServiceKey, other: ServiceKey) -> None:
    assert (str(one) == str(other)) is (one == other)
    assert str(one).count("/") == 3


def test_a_key_is_read_from_extensions_and_written_back() -> None:
    key = ServiceKey("ns", "digits", "predictor", "")
    assert str(key) == "ns/digits/predictor/"
    assert ServiceKey.of(CloudEvent(id="1", source="s", type="t", extensions=key.extensions())) == key
    assert ServiceKey.of(CloudEvent(id="1", source="s", type="t")) == ServiceKey("", "", "", "")
