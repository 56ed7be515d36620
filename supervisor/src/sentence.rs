//! An error and its causes as one sentence for a person.

/// The error, then each cause that says something which is not said yet.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::sentence;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read {name}: {source}")]
    struct Telling {
        name: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let source = std::io::Error::other("the disk is gone");
        let error = Err::<(), _>(Telling { name: "x", source }).context("cannot start");
        assert_eq!(
            sentence(&error.unwrap_err()),
            "cannot start: cannot read x: the disk is gone"
        );
    }
}
