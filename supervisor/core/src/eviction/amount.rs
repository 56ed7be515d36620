//! Amounts as Kubernetes writes them (`Quantity.String`, `k8s.io/apimachinery/pkg/api/resource/quantity.go`).

/// Which suffixes an amount gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `Ki`, `Mi`, …
    Binary,
    /// `k`, `M`, …
    Decimal,
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// The amount with the largest suffix that leaves a whole number.
pub(super) fn text(amount: i64, form: Form) -> String {
    // Below 1024 Kubernetes counts in tens whatever the form.
    let (base, suffixes) = match form {
        Form::Binary if amount.unsigned_abs() >= 1024 => (1024, BINARY),
        _ => (1000, DECIMAL),
    };
    let (mut amount, mut power) = (amount, 0);
    while amount != 0 && amount % base == 0 && power + 1 < suffixes.len() {
        amount /= base;
        power += 1;
    }
    format!("{amount}{}", suffixes[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_kubernetes_writes_them() {
        for (amount, binary, decimal) in [
            (0, "0", "0"),
            (512, "512", "512"),
            (1000, "1k", "1k"),
            (1024, "1Ki", "1024"),
            (1500, "1500", "1500"),
            (104_857_600, "100Mi", "104857600"),
            (100_000_000, "100000000", "100M"),
            (-1, "-1", "-1"),
            (1 << 60, "1Ei", "1152921504606846976"),
        ] {
            let got = (text(amount, Form::Binary), text(amount, Form::Decimal));
            assert_eq!(got, (binary.to_owned(), decimal.to_owned()), "{amount}");
        }
    }
}
