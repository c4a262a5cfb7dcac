"""Who may try a password: nobody guesses without end, and nobody's owner is shut out for good."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webportal.accounts.sign_in_limiter import (  # type: ignore[attr-defined]
    FEW,
    MOST_AT_ADDRESS,
    MOST_AT_ONCE,
    MOST_OF_NAME_AT_ADDRESS,
    NAME_UNDER_ATTACK,
    WINDOW,
    Attempt,
    SignInLimiter,
    network,
)


class Case:
    """A limiter whose clock a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.limiter = SignInLimiter(lambda: self.now)

    def wrong(self, name: str, address: str = "192.0.2.1", device: str | None = None) -> int:
        """A wrong password: 0, or the seconds after which it may be tried."""
        begun = self.limiter.begin(name, address, device)
        if isinstance(begun, int):
            return begun
        begun.failed()
        return 0

    def right(self, name: str, address: str = "192.0.2.1", device: str | None = None) -> bool:
        begun = self.limiter.begin(name, address, device)
        if isinstance(begun, Attempt):
            begun.succeeded()
        return isinstance(begun, Attempt)


def test_a_name_is_closed_at_one_address_and_only_for_a_while() -> None:
    case = Case()
    assert [case.wrong("anna") for _ in range(MOST_OF_NAME_AT_ADDRESS)] == [0] * MOST_OF_NAME_AT_ADDRESS
    assert case.wrong("ANNA") == WINDOW
    assert not case.right("anna")
    assert case.right("anna", "192.0.2.2")
    assert case.right("boris")
    case.now += WINDOW / 2
    assert case.wrong("anna") == WINDOW / 2, "what is refused does not count"
    case.now += WINDOW / 2
    assert case.right("anna")
    assert case.wrong("anna") == 0


def test_an_address_cannot_try_any_number_of_names() -> None:
    for addresses in (["192.0.2.1"], ["2001:db8::1", "2001:db8::ffff:2", "2001:db8::%eth0"], ["::ffff:192.0.2.1", "192.0.2.1"]):
        case = Case()
        tries = [case.wrong(f"name{n}", addresses[n % len(addresses)]) for n in range(3 * MOST_AT_ADDRESS)]
        assert tries.count(0) == MOST_AT_ADDRESS
        assert case.wrong("name", "198.51.100.1") == 0
    case.now += WINDOW
    assert case.wrong("name") == 0


def test_a_right_password_opens_no_way_for_guesses_at_others() -> None:
    case = Case()
    done = 0
    for n in range(5 * MOST_AT_ADDRESS):
        done += case.wrong(f"name{n}") == 0
        case.right("mine")
    assert done == MOST_AT_ADDRESS


def test_right_passwords_are_never_too_many() -> None:
    case = Case()
    assert all(case.right(f"name{n % 30}") for n in range(500))
    for _ in range(MOST_OF_NAME_AT_ADDRESS - 1):
        case.wrong("anna")
    assert case.right("anna")
    assert case.wrong("anna") == 0, "those before are forgotten"


def test_a_name_under_attack_from_everywhere_is_left_few_tries_at_each_address() -> None:
    case = Case()
    tried = sum(case.wrong("anna", f"10.0.{n % 100}.1") == 0 for n in range(1_000))
    assert tried <= NAME_UNDER_ATTACK + 100 * FEW
    assert case.right("anna", "203.0.113.9"), "her own address has tried nothing yet"
    assert case.wrong("boris", "10.0.200.1") == 0


def test_a_browser_that_is_known_is_counted_by_itself() -> None:
    case = Case()
    for n in range(200):
        case.wrong(f"name{n}")
        case.wrong("anna", f"10.0.0.{n}")
        case.wrong("anna")
    assert not case.right("anna")
    assert case.right("anna", device="hers")
    assert [case.wrong("anna", device="hers") for _ in range(MOST_OF_NAME_AT_ADDRESS)] == [0] * MOST_OF_NAME_AT_ADDRESS
    assert case.wrong("anna", device="hers") == WINDOW
    assert case.right("anna", device="her other one")


def test_few_passwords_are_hashed_at_once() -> None:
    case = Case()
    running = [case.limiter.begin(f"n{n}", f"10.0.0.{n}", None) for n in range(20)]
    assert sum(isinstance(one, Attempt) for one in running) == MOST_AT_ONCE
    assert running[-1] == 1
    assert case.right("anna", device="hers"), "there is room for those who are known"
    for one in running:
        if isinstance(one, Attempt):
            one.failed()
            one.abandoned()
    at_one_address = [case.limiter.begin(f"n{n}", "10.1.0.1", None) for n in range(5)]
    assert sum(isinstance(one, Attempt) for one in at_one_address) == 2
    assert case.right("anna", "10.1.0.2")


def test_tries_that_run_at_the_same_time_count() -> None:
    case = Case()
    for _ in range(100):
        running = [case.limiter.begin("anna", "192.0.2.1", None) for _ in range(3)]
        for one in running:
            if isinstance(one, Attempt):
                one.failed()
    assert case.limiter._tally.count(("pair", "anna", "192.0.2.1"), case.now) == MOST_OF_NAME_AT_ADDRESS


def test_what_was_not_judged_does_not_count() -> None:
    case = Case()
    for _ in range(100):
        begun = case.limiter.begin("anna", "192.0.2.1", None)
        assert isinstance(begun, Attempt)
        begun.abandoned()


def test_wrong_keys_of_an_address_are_counted_apart() -> None:
    case = Case()
    assert [case.limiter.wrong_key("192.0.2.1") for _ in range(MOST_AT_ADDRESS)] == [0] * MOST_AT_ADDRESS
    assert case.limiter.wrong_key("192.0.2.1") == WINDOW
    assert case.limiter.wrong_key("192.0.2.2") == 0
    assert case.right("anna")


@given(st.text())
def test_any_name_and_address_can_be_counted(text: str) -> None:
    case = Case()
    assert case.wrong(text, text) == 0
    assert network(network(text)) == network(text)


def test_what_is_kept_is_bounded() -> None:
    case = Case()
    for n in range(60_000):
        case.wrong(f"{n}" * 1_000, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert len(case.limiter._tally._tries) <= 20_000
    assert not case.limiter._running
