//! Thresholds as a kubelet's configuration has them: `memory.available<100Mi`, `nodefs.available<10%`.

use std::fmt;

use super::amount::{self, Form};
use super::signal::{Observation, Signal};
use crate::explain::duration;
use crate::pod::{ParseQuantityError, Quantity};

/// How much: so many, or a share of the capacity.
#[derive(Debug, Clone, PartialEq)]
pub enum Amount {
    /// So many, in the signal's unit.
    Quantity(Quantity),
    /// Of a hundred. A single-precision number, as a kubelet computes with.
    Percent(f32),
}

/// A limit whose crossing is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// What it watches.
    pub signal: Signal,
    /// Less than that is too little; of a pressure: more than that is too much.
    pub value: Amount,
    /// Milliseconds that it must be crossed before a Pod is evicted. 0 makes it a hard threshold.
    pub grace_ms: u64,
    /// How much more than `value` there must be before it is no longer crossed.
    pub min_reclaim: Option<Amount>,
}

/// Why a text is no threshold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// Nothing of that name is watched.
    #[error(
        "{0:?} is no eviction signal; the signals are memory.available, nodefs.available, nodefs.inodesFree, \
         imagefs.available, imagefs.inodesFree, pid.available, memory.pressure, io.pressure and cpu.pressure"
    )]
    Signal(String),
    /// It has not the form of a threshold.
    #[error("{text:?} is not of the form {form}")]
    Form {
        /// The text.
        text: String,
        /// Such as `SIGNAL<QUANTITY`.
        form: &'static str,
    },
    /// The amount is none.
    #[error("the amount for {signal}: {source}")]
    Quantity {
        /// For what.
        signal: Signal,
        /// Why.
        source: ParseQuantityError,
    },
    /// The amount makes no sense.
    #[error("the amount {text:?} for {signal} {reason}")]
    Range {
        /// For what.
        signal: Signal,
        /// The amount.
        text: String,
        /// What it should be.
        reason: &'static str,
    },
    /// A soft threshold without a grace period would be a hard one.
    #[error(
        "the soft threshold on {0} has no grace period; give one, such as {0}=1m30s, or make it a hard threshold"
    )]
    NoGrace(Signal),
    /// A grace period or minimum reclaim of a signal that has no threshold has no effect.
    #[error(
        "{what} is given for {signal}, which has no {which} threshold; remove it or add the threshold"
    )]
    Unused {
        /// `a grace period` or `a minimum reclaim`.
        what: &'static str,
        /// For which signal.
        signal: Signal,
        /// `soft`, or `hard or soft`.
        which: &'static str,
    },
    /// Two of a kind: one of them would never be asked.
    #[error("{0} has two thresholds of one kind; remove one of them")]
    Twice(Signal),
}

/// The statements of a configuration, each a list as a kubelet's flags have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// `SIGNAL<AMOUNT`: evicted at once.
    pub hard: Vec<String>,
    /// `SIGNAL<AMOUNT`: evicted after the grace period.
    pub soft: Vec<String>,
    /// `SIGNAL=DURATION`, one for each in `soft`.
    pub soft_grace_period: Vec<String>,
    /// `SIGNAL=AMOUNT`.
    pub minimum_reclaim: Vec<String>,
}

impl Thresholds {
    /// A kubelet's (`DefaultEvictionHard`, `pkg/kubelet/apis/config/v1beta1/defaults_linux.go`).
    #[must_use]
    pub fn kubelet() -> Self {
        let hard = [
            "memory.available<100Mi",
            "nodefs.available<10%",
            "nodefs.inodesFree<5%",
            "imagefs.available<15%",
            "imagefs.inodesFree<5%",
        ];
        Self {
            hard: hard.map(str::to_owned).to_vec(),
            ..Self::default()
        }
    }

    /// Reads them. A threshold of 0% or 100% is none, as for a kubelet.
    ///
    /// # Errors
    /// For the first statement that says nothing, or nothing sensible.
    pub fn parse(&self) -> Result<Vec<Threshold>, ThresholdError> {
        let grace = pairs(&self.soft_grace_period, grace)?;
        let reclaim = pairs(&self.minimum_reclaim, minimum)?;
        let hard = statements(&self.hard)?;
        let soft = statements(&self.soft)?;
        unused("a grace period", "soft", &grace, [&soft, &[]])?;
        unused(
            "a minimum reclaim",
            "hard or soft",
            &reclaim,
            [&hard, &soft],
        )?;
        let mut thresholds = Vec::new();
        for (statements, is_soft) in [(hard, false), (soft, true)] {
            for (signal, value) in statements {
                let grace_ms = match is_soft {
                    false => 0,
                    true => of(&grace, signal).ok_or(ThresholdError::NoGrace(signal))?,
                };
                let min_reclaim = of(&reclaim, signal);
                thresholds.extend(value.map(|value| Threshold {
                    signal,
                    value,
                    grace_ms,
                    min_reclaim,
                }));
            }
        }
        Ok(thresholds)
    }
}

impl Threshold {
    /// True for one that is answered at once.
    pub fn is_hard(&self) -> bool {
        self.grace_ms == 0
    }

    /// Whether what was seen crosses it; `reclaiming` asks for the minimum reclaim as well.
    pub fn crossed(&self, seen: Observation, reclaiming: bool) -> bool {
        let limit = self.value.of(seen.capacity);
        let more = self.min_reclaim.as_ref().filter(|_| reclaiming);
        let more = more.map_or(0, |amount| amount.of(seen.capacity));
        match self.signal.is_pressure() {
            true => seen.available > limit.saturating_sub(more),
            false => seen.available < limit.saturating_add(more),
        }
    }

    /// The limit as a kubelet's messages give it: a quantity as configured, a percentage in units.
    pub fn limit_text(&self, capacity: i64) -> String {
        match &self.value {
            Amount::Quantity(quantity) => quantity.to_string(),
            Amount::Percent(_) => self.amount_text(self.value.of(capacity)),
        }
    }

    /// What was seen, in the same form.
    pub fn amount_text(&self, amount: i64) -> String {
        match self.signal {
            signal if signal.is_pressure() => format!("{}.{:02}%", amount / 100, amount % 100),
            signal if signal.in_bytes() => amount::text(amount, Form::Binary),
            _ => amount::text(amount, Form::Decimal),
        }
    }
}

impl Amount {
    /// In the unit of what there is `capacity` of.
    pub fn of(&self, capacity: i64) -> i64 {
        match self {
            Self::Quantity(quantity) => quantity.value(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "saturates, as in a kubelet"
            )]
            #[expect(clippy::cast_precision_loss, reason = "as in a kubelet")]
            Self::Percent(percent) => (capacity as f64 * f64::from(percent / 100.0)) as i64,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let than = if self.signal.is_pressure() { '>' } else { '<' };
        write!(f, "{}{than}", self.signal)?;
        match &self.value {
            Amount::Quantity(quantity) => write!(f, "{quantity}"),
            Amount::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

type Found<T> = Vec<(Signal, T)>;

fn of<T: Clone>(pairs: &[(Signal, T)], signal: Signal) -> Option<T> {
    let found = pairs.iter().find(|(s, _)| *s == signal);
    found.map(|(_, value)| value.clone())
}

fn unused<T, U>(
    what: &'static str,
    which: &'static str,
    given: &[(Signal, T)],
    used: [&[(Signal, U)]; 2],
) -> Result<(), ThresholdError> {
    let is_used = |signal| {
        used.iter()
            .any(|list| list.iter().any(|(s, _)| *s == signal))
    };
    match given.iter().find(|(signal, _)| !is_used(*signal)) {
        Some(&(signal, _)) => Err(ThresholdError::Unused {
            what,
            signal,
            which,
        }),
        None => Ok(()),
    }
}

/// `SIGNAL<AMOUNT` each; no amount for one that never fires.
fn statements(texts: &[String]) -> Result<Found<Option<Amount>>, ThresholdError> {
    split(
        texts,
        |c| c == '<' || c == '>',
        "SIGNAL<AMOUNT, such as memory.available<100Mi, or PRESSURE>PERCENT",
        |signal, text, operator| {
            if (operator == '>') != signal.is_pressure() {
                let reason = match signal.is_pressure() {
                    true => "is bad when it is high: write > before it",
                    false => "is bad when it is low: write < before it",
                };
                return Err(range(signal, text, reason));
            }
            if text == "0%" || text == "100%" {
                return Ok(None);
            }
            let amount = amount(signal, text)?;
            match &amount {
                Amount::Quantity(_) if signal.is_pressure() => {
                    Err(range(signal, text, "must be a percentage of time"))
                }
                Amount::Quantity(quantity) if quantity.is_zero() => {
                    Err(range(signal, text, "must be more than nothing"))
                }
                _ => Ok(Some(amount)),
            }
        },
    )
}

fn pairs<T>(
    texts: &[String],
    read: impl Fn(Signal, &str) -> Result<T, ThresholdError>,
) -> Result<Found<T>, ThresholdError> {
    split(
        texts,
        |c| c == '=',
        "SIGNAL=VALUE",
        |signal, text, _| read(signal, text),
    )
}

fn split<T>(
    texts: &[String],
    operator: impl Fn(char) -> bool,
    form: &'static str,
    read: impl Fn(Signal, &str, char) -> Result<T, ThresholdError>,
) -> Result<Found<T>, ThresholdError> {
    let mut found: Found<T> = Vec::new();
    for text in texts {
        let wrong = || ThresholdError::Form {
            text: text.chars().take(64).collect(),
            form,
        };
        let at = text.find(&operator).ok_or_else(wrong)?;
        let (signal, value) = text.split_at(at);
        let mut value = value.chars();
        let operator = value.next().ok_or_else(wrong)?;
        let signal: Signal = signal.trim().parse()?;
        if found.iter().any(|(s, _)| *s == signal) {
            return Err(ThresholdError::Twice(signal));
        }
        found.push((signal, read(signal, value.as_str().trim(), operator)?));
    }
    Ok(found)
}

fn grace(signal: Signal, text: &str) -> Result<u64, ThresholdError> {
    match duration::parse_ms(text) {
        Some(ms) if ms > 0 => Ok(ms),
        _ => Err(range(
            signal,
            text,
            "must be a duration above zero, such as 1m30s",
        )),
    }
}

/// Of a minimum reclaim, where nothing may be asked for.
fn minimum(signal: Signal, text: &str) -> Result<Amount, ThresholdError> {
    match amount(signal, text)? {
        Amount::Percent(percent) if percent <= 0.0 => {
            Err(range(signal, text, "must be more than nothing"))
        }
        Amount::Quantity(_) if signal.is_pressure() => {
            Err(range(signal, text, "must be a percentage of time"))
        }
        amount => Ok(amount),
    }
}

fn amount(signal: Signal, text: &str) -> Result<Amount, ThresholdError> {
    let Some(number) = text.strip_suffix('%') else {
        let quantity: Quantity = text
            .parse()
            .map_err(|source| ThresholdError::Quantity { signal, source })?;
        if quantity.is_negative() {
            return Err(range(signal, text, "must not be negative"));
        }
        return Ok(Amount::Quantity(quantity));
    };
    match number.parse::<f32>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Amount::Percent(percent)),
        _ => Err(range(signal, text, "must be between 0% and 100%")),
    }
}

fn range(signal: Signal, text: &str, reason: &'static str) -> ThresholdError {
    ThresholdError::Range {
        signal,
        text: text.chars().take(64).collect(),
        reason,
    }
}
