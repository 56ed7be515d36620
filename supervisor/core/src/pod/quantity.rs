//! Kubernetes quantities: `500m`, `1.5`, `64Mi`, `1e3`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const NANOS_PER_UNIT: i128 = 1_000_000_000;

/// An amount of a resource, exact to a billionth, never negative once parsed from a manifest.
///
/// Two quantities are equal when their amounts are (`1000m` equals `1`).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Quantity {
    nanos: i128,
    text: String,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a quantity: {reason}; write a number with an optional suffix, such as 500m, 1.5, 64Mi or 2G"
)]
pub struct ParseQuantityError {
    text: String,
    reason: &'static str,
}

impl Quantity {
    /// True for nothing at all.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// True below zero.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// In whole units (bytes, cores), rounded up as Kubernetes' `Quantity.Value` does; at most `i64::MAX`.
    pub fn value(&self) -> i64 {
        self.scaled(NANOS_PER_UNIT)
    }

    /// In thousandths (millicores), rounded up as `Quantity.MilliValue` does; at most `i64::MAX`.
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANOS_PER_UNIT / 1000)
    }

    /// How many `divisor`s this is, rounded up; the rule of `resourceFieldRef`
    /// (`pkg/api/v1/resource/helpers.go`).
    pub fn divided_by(&self, divisor: &Quantity) -> i64 {
        self.scaled(divisor.nanos.max(1))
    }

    fn scaled(&self, unit: i128) -> i64 {
        let up = self.nanos.div_euclid(unit) + i128::from(self.nanos.rem_euclid(unit) != 0);
        i64::try_from(up).unwrap_or(if up < 0 { i64::MIN } else { i64::MAX })
    }
}

impl From<i64> for Quantity {
    fn from(value: i64) -> Self {
        Self {
            nanos: i128::from(value) * NANOS_PER_UNIT,
            text: value.to_string(),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.text
    }
}

impl TryFrom<String> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    /// The grammar of `k8s.io/apimachinery/pkg/api/resource/quantity.go`: a signed decimal number and a
    /// binary suffix (`Ki`…`Ei`), a decimal one (`n u m k M G T P E`) or an exponent. Digits below a
    /// billionth round up.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseQuantityError {
            text: text.chars().take(64).collect(),
            reason,
        };
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') {
            return Err(fail("it has two decimal points"));
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(fail("it has no digits"));
        }
        let (base, exponent) = scale(suffix).ok_or_else(|| fail("its suffix is unknown"))?;
        let too_large = || fail("it is too large");
        let digits: String = [whole, fraction].concat();
        let digits = digits.trim_start_matches('0');
        if digits.len() > 30 {
            return Err(too_large());
        }
        let digits: i128 = if digits.is_empty() {
            0
        } else {
            digits.parse().map_err(|_| too_large())?
        };
        // nanos = digits * base * 10^(exponent + 9 - places of the fraction)
        let scaled = digits.checked_mul(base).ok_or_else(too_large)?;
        let power = exponent + 9 - i32::try_from(fraction.len()).map_err(|_| too_large())?;
        let nanos = if power >= 0 {
            let factor = 10i128
                .checked_pow(power.unsigned_abs())
                .ok_or_else(too_large)?;
            scaled.checked_mul(factor).ok_or_else(too_large)?
        } else {
            match 10i128.checked_pow(power.unsigned_abs()) {
                Some(factor) => scaled / factor + i128::from(scaled % factor != 0),
                None => i128::from(scaled != 0),
            }
        };
        if nanos > i128::from(i64::MAX) * NANOS_PER_UNIT {
            return Err(too_large());
        }
        Ok(Self {
            nanos: sign * nanos,
            text: text.to_owned(),
        })
    }
}

/// What a suffix multiplies by, as (factor, power of ten).
fn scale(suffix: &str) -> Option<(i128, i32)> {
    let decimal = |power| Some((1, power));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((1 << 10, 0)),
        "Mi" => Some((1 << 20, 0)),
        "Gi" => Some((1 << 30, 0)),
        "Ti" => Some((1 << 40, 0)),
        "Pi" => Some((1 << 50, 0)),
        "Ei" => Some((1 << 60, 0)),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            let unsigned = power.strip_prefix(['+', '-']).unwrap_or(power);
            let ok = !unsigned.is_empty()
                && unsigned.len() <= 3
                && unsigned.bytes().all(|b| b.is_ascii_digit());
            decimal(ok.then(|| power.parse().ok())??)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn suffixes_scale() {
        assert_eq!(q("64Mi").value(), 64 << 20);
        assert_eq!(q("1.5Gi").value(), 3 << 29);
        assert_eq!(q("500m").milli_value(), 500);
        assert_eq!(q("0.1").milli_value(), 100);
        assert_eq!(q("1e3").value(), 1000);
        assert_eq!(q("1E").value(), 1_000_000_000_000_000_000);
        assert_eq!(q("12E-1").milli_value(), 1200);
        assert_eq!(q("100u").milli_value(), 1);
        assert_eq!(q("100m").value(), 1);
        assert_eq!(q(".5").milli_value(), 500);
        assert_eq!(q("5.").value(), 5);
    }

    #[test]
    fn equal_amounts_are_equal() {
        assert_eq!(q("1000m"), q("1"));
        assert!(q("1Ki") > q("1k"));
        assert_eq!(q("1Gi").divided_by(&q("1Mi")), 1024);
        assert_eq!(q("1001m").divided_by(&q("1")), 2);
    }

    #[test]
    fn b20_bad_quantities() {
        for bad in [
            "",
            "1.5.2",
            "1e400",
            " 1Gi",
            "1gi",
            "Gi",
            "1Gi ",
            "0x10",
            "1e",
            "--1",
            "1Kii",
            "9999999999999999999999999999999999999",
        ] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad:?}");
        }
        assert!(q("-1").is_negative());
    }
}
