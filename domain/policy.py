"""The policy: every figure of the rules, with its default and its unit. Its file is `policy.toml`.

One frozen type per section; durations are integer milliseconds (`_ms`), windows that the rules
count in UTC days are whole days (`_days`). A figure of the rules has its home here and nowhere
else.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from msgspec import Struct

from domain.policy_file import PolicyError, PolicyFile, Problem, duration_ms, duration_text

__all__ = [
    "DEFAULT_POLICY",
    "Caps",
    "InputPolicy",
    "Policy",
    "PolicyError",
    "Problem",
    "ProfilePolicy",
    "ReminderPolicy",
    "Retention",
    "Step",
    "StrikePolicy",
    "VerdictPolicy",
    "parse_policy",
    "policy_toml",
]

WINDOWS: Final = {
    "card": "4h",
    "e_wallet": "4h",
    "qris": "4h",
    "virtual_account": "24h",
    "bank_transfer": "24h",
    "counter": "24h",
    "installment": "24h",
    "other": "24h",
}
"""The prepaid methods and how long each may take to be paid when the checkout does not say."""

AS_CARD: Final = ("card", "e_wallet", "qris")
"""Methods reminded as card unless they have steps of their own; the others as virtual_account."""


class VerdictPolicy(Struct, frozen=True):
    """When silence has become a verdict."""

    after_expiry_ms: int
    """From pay_by, when an expiry was said: providers retry their webhooks for 12 h."""
    after_silence_ms: int
    """From pay_by, when nothing was said: a provider that was down recovers within days."""
    processing_ms: int
    """From the newest event of a pending or authorized payment."""
    superseded_within_ms: int
    """Between two confirmations of one cart, either way, inclusive."""
    after_incident_ms: int
    cod_lapses_after_ms: int


class StrikePolicy(Struct, frozen=True):
    """What strikes come to. Windows reach back from day d over (d - days, d]."""

    window_days: int
    cod_window_days: int
    require_prepayment_at: int
    human_review_at: int
    human_review_unpaid_share: float


class Step(Struct, frozen=True):
    """One reminder step of a payment method."""

    name: str
    """As the policy writes it ("1h", "-4h"): part of the reminder's id."""
    offset_ms: int
    """Never negative; see `before_pay_by`."""
    before_pay_by: bool
    """Counted back from pay_by; otherwise on from the base."""


class ReminderPolicy(Struct, frozen=True):
    """Which reminders there are and how many are too many."""

    per_checkout: int
    per_customer_gap_ms: int
    per_customer_week: int
    """In any 7 days."""
    quiet_hours: tuple[int, int] | None
    """Minutes of the buyer's day, from (inclusive) and to (exclusive), past midnight when from is
    the greater; None: off."""
    default_time_zone: str
    latest_before_pay_by_ms: int
    steps: dict[str, tuple[Step, ...]]
    """By payment method, every prepaid one."""


class Retention(Struct, frozen=True):
    """How long what is told is kept."""

    settled_ms: int
    orphan_ms: int
    history_ms: int
    """Whole days: it is kept in day buckets."""
    erased_guard_ms: int


class InputPolicy(Struct, frozen=True):
    """What is refused or left out at the door."""

    future_tolerance_ms: int
    oldest_ms: int
    longest_pay_by_ms: int
    ignore_customers: frozenset[str]


class Caps(Struct, frozen=True):
    """How much one customer, or one checkout, may hold."""

    open_checkouts: int
    settled_checkouts: int
    orphans: int
    payments: int
    """Of a checkout."""
    orders: int
    """Of a checkout."""
    method_changes: int
    """Of a checkout."""


class ProfilePolicy(Struct, frozen=True):
    """The figures by which kinds of buyers are told apart."""

    new_for_days: int
    short_lived_traits: int
    loyal_purchases: int
    regular_purchases: int
    regular_gap_days: int
    discount_share: float
    kind_purchases: int


class Policy(Struct, frozen=True):
    """All of them. Two policies with the same values have the same `version`."""

    payment_window_ms: dict[str, int]
    """By payment method, every prepaid one."""
    verdict: VerdictPolicy
    strikes: StrikePolicy
    reminders: ReminderPolicy
    retention: Retention
    input: InputPolicy
    caps: Caps
    profile: ProfilePolicy
    version: str
    """12 hex digits of the SHA-256 of the values: "4h" and "240m" are one, comments are none."""


def parse_policy(text: str, *, name: str) -> Policy:
    """The policy a file holds; what it does not say has its default, key by key. `name` is the
    file's, for messages. Raises PolicyError with every problem at once: no TOML, unknown keys,
    values of the wrong kind, combinations that cannot be meant."""
    return _policy_of(PolicyFile(text, name=name))


def policy_toml(text: str, *, name: str) -> str:
    """The same file with every key and the value in force, for people. Raises as parse_policy."""
    file = PolicyFile(text, name=name)
    policy = _policy_of(file)
    return f"# version {policy.version}, of {name}\n\n{file.as_toml()}"


def _policy_of(file: PolicyFile) -> Policy:
    windows = {
        method: file.duration(f"payment_window.{method}", default, positive=True)
        for method, default in WINDOWS.items()
    }
    verdict, strikes = _verdict(file), _strikes(file)
    reminders, retention = _reminders(file, windows), _retention(file)
    entrance, caps, profile = _input(file), _caps(file), _profile(file)
    _check(file, windows, verdict, strikes, retention, entrance, profile)
    file.finish()
    return Policy(
        payment_window_ms=windows,
        verdict=verdict,
        strikes=strikes,
        reminders=reminders,
        retention=retention,
        input=entrance,
        caps=caps,
        profile=profile,
        version=_version(file.values),
    )


def _version(values: dict[str, object]) -> str:
    """Of the values as the file's keys name them, so that renaming a field here changes nothing."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _verdict(file: PolicyFile) -> VerdictPolicy:
    return VerdictPolicy(
        after_expiry_ms=file.duration("verdict.after_expiry", "13h"),
        after_silence_ms=file.duration("verdict.after_silence", "96h"),
        processing_ms=file.duration("verdict.processing", "72h"),
        superseded_within_ms=file.duration("verdict.superseded_within", "24h"),
        after_incident_ms=file.duration("verdict.after_incident", "24h"),
        cod_lapses_after_ms=file.duration("verdict.cod_lapses_after", "30d", positive=True),
    )


def _strikes(file: PolicyFile) -> StrikePolicy:
    return StrikePolicy(
        window_days=file.days("strikes.window", "90d"),
        cod_window_days=file.days("strikes.cod_window", "60d"),
        require_prepayment_at=file.whole("strikes.require_prepayment_at", 2, least=1),
        human_review_at=file.whole("strikes.human_review_at", 3, least=1),
        human_review_unpaid_share=file.share("strikes.human_review_unpaid_share", 0.5),
    )


def _reminders(file: PolicyFile, windows: dict[str, int]) -> ReminderPolicy:
    latest_ms = file.duration("reminders.latest_before_pay_by", "15m")
    return ReminderPolicy(
        per_checkout=file.whole("reminders.per_checkout", 2, least=0),
        per_customer_gap_ms=file.duration("reminders.per_customer_gap", "16h"),
        per_customer_week=file.whole("reminders.per_customer_week", 3, least=0),
        quiet_hours=file.quiet_hours("reminders.quiet_hours", ("21:00", "08:00")),
        default_time_zone=file.zone("reminders.default_time_zone", "Asia/Jakarta"),
        latest_before_pay_by_ms=latest_ms,
        steps=_steps(file, windows, latest_ms),
    )


def _steps(
    file: PolicyFile, windows: dict[str, int], latest_ms: int
) -> dict[str, tuple[Step, ...]]:
    models = {
        "card": _steps_of(file, "card", ("1h",)),
        "virtual_account": _steps_of(file, "virtual_account", ("2h", "-4h")),
    }
    steps: dict[str, tuple[Step, ...]] = {}
    for method, window_ms in windows.items():
        model = "card" if method in AS_CARD else "virtual_account"
        key = f"reminders.steps.{method}"
        if file.has(key) and method not in models:
            model, steps[method] = method, _steps_of(file, method, ())
        else:
            steps[method] = models[model]
            file.values[key] = [step.name for step in models[model]]
        for step in steps[method]:
            _check_step(file, method, f"reminders.steps.{model}", step, window_ms, latest_ms)
    return steps


def _steps_of(
    file: PolicyFile, method: str, default: list[str] | tuple[str, ...]
) -> tuple[Step, ...]:
    key = f"reminders.steps.{method}"
    found: list[Step] = []
    for name in file.texts(key, default):
        offset_ms = duration_ms(name.removeprefix("-"))
        if offset_ms is None:
            file.problem(key, f'has the step "{name}"; a step is like "1h" or "-4h"')
        elif offset_ms == 0:
            file.problem(key, f'has the step "{name}": at its base or pay_by there is no reminder')
        else:
            found.append(Step(name, offset_ms, name.startswith("-")))
    if len({(step.offset_ms, step.before_pay_by) for step in found}) < len(found):
        file.problem(key, "says the same step twice")
    return tuple(found)


def _check_step(
    file: PolicyFile, method: str, key: str, step: Step, window_ms: int, latest_ms: int
) -> None:
    """A step that no checkout of the method would ever reach is a mistake."""
    window = f"payment_window.{method}"
    room = f"{window} is {duration_text(window_ms)}"
    latest = f"reminders.latest_before_pay_by is {duration_text(latest_ms)}"
    advice = f"say other steps for {method} ([] for none)"
    others = (window, "reminders.latest_before_pay_by")
    what = f'has the step "{step.name}", which never comes: '
    if step.before_pay_by:
        file.demand(step.offset_ms < window_ms, key, f"{what}{room}; {advice}", window)
        file.demand(step.offset_ms >= latest_ms, key, f"{what}{latest}; {advice}", others[1])
    else:
        fits = step.offset_ms + latest_ms <= window_ms
        file.demand(fits, key, f"{what}{room} and {latest}; {advice}", *others)


def _retention(file: PolicyFile) -> Retention:
    return Retention(
        settled_ms=file.duration("retention.settled", "30d", positive=True),
        orphan_ms=file.duration("retention.orphan", "30d", positive=True),
        history_ms=file.days("retention.history", "365d") * 86_400_000,
        erased_guard_ms=file.duration("retention.erased_guard", "30d", positive=True),
    )


def _input(file: PolicyFile) -> InputPolicy:
    ignored = frozenset(file.texts("input.ignore_customers", ()))
    file.values["input.ignore_customers"] = sorted(ignored)
    return InputPolicy(
        future_tolerance_ms=file.duration("input.future_tolerance", "5m"),
        oldest_ms=file.duration("input.oldest", "400d", positive=True),
        longest_pay_by_ms=file.duration("input.longest_pay_by", "90d", positive=True),
        ignore_customers=ignored,
    )


def _caps(file: PolicyFile) -> Caps:
    return Caps(
        open_checkouts=file.whole("caps.open_checkouts", 128, least=1),
        settled_checkouts=file.whole("caps.settled_checkouts", 256, least=1),
        orphans=file.whole("caps.orphans", 64, least=1),
        payments=file.whole("caps.payments", 16, least=1),
        orders=file.whole("caps.orders", 32, least=1),
        method_changes=file.whole("caps.method_changes", 16, least=1),
    )


def _profile(file: PolicyFile) -> ProfilePolicy:
    return ProfilePolicy(
        new_for_days=file.days("profile.new_for", "90d"),
        short_lived_traits=file.whole("profile.short_lived_traits", 4, least=1, most=6),
        loyal_purchases=file.whole("profile.loyal_purchases", 6, least=1),
        regular_purchases=file.whole("profile.regular_purchases", 4, least=1),
        regular_gap_days=file.days("profile.regular_gap", "90d"),
        discount_share=file.share("profile.discount_share", 0.6),
        kind_purchases=file.whole("profile.kind_purchases", 3, least=1),
    )


def _check(
    file: PolicyFile,
    windows: dict[str, int],
    verdict: VerdictPolicy,
    strikes: StrikePolicy,
    retention: Retention,
    entrance: InputPolicy,
    profile: ProfilePolicy,
) -> None:
    """Combinations that cannot be meant: each would silently switch a rule off or accuse people."""
    file.demand(
        verdict.after_expiry_ms <= verdict.after_silence_ms,
        "verdict.after_expiry",
        "must not be longer than verdict.after_silence: an expiry makes a verdict come earlier",
        "verdict.after_silence",
    )
    file.demand(
        strikes.human_review_at >= strikes.require_prepayment_at,
        "strikes.human_review_at",
        "must not be less than strikes.require_prepayment_at: it is the stronger advice",
        "strikes.require_prepayment_at",
    )
    for method, window_ms in windows.items():
        file.demand(
            window_ms <= entrance.longest_pay_by_ms,
            f"payment_window.{method}",
            "must not be longer than input.longest_pay_by: checkouts that say it would be refused",
            "input.longest_pay_by",
        )
    file.demand(
        entrance.oldest_ms >= entrance.longest_pay_by_ms + verdict.after_silence_ms,
        "input.oldest",
        "must be at least input.longest_pay_by + verdict.after_silence: payments would be dropped"
        " as too old before their verdict is due",
        "input.longest_pay_by",
        "verdict.after_silence",
    )
    file.demand(
        retention.settled_ms >= verdict.superseded_within_ms,
        "retention.settled",
        "must be at least verdict.superseded_within: a cart paid before would be forgotten",
        "verdict.superseded_within",
    )
    history_days = retention.history_ms // 86_400_000
    for key, days in (
        ("strikes.window", strikes.window_days),
        ("profile.new_for", profile.new_for_days),
        ("profile.regular_gap", profile.regular_gap_days),
    ):
        file.demand(
            history_days >= days,
            "retention.history",
            f"must be at least {key}: purchases within it would be forgotten",
            key,
        )
    file.demand(
        profile.loyal_purchases >= profile.regular_purchases,
        "profile.loyal_purchases",
        "must not be less than profile.regular_purchases: loyal buyers are regular ones",
        "profile.regular_purchases",
    )


DEFAULT_POLICY: Final = parse_policy("", name="the defaults")
