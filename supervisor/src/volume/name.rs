//! Names that become parts of paths.

use super::error::VolumeError;

/// Refuses a name that would not be one component of a path.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), VolumeError> {
    let good = (1..=253).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if good {
        Ok(())
    } else {
        Err(VolumeError::BadName {
            what,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        for bad in ["", ".", "..", "a/b", "/", "a\0b", "a b", &"x".repeat(254)] {
            assert!(check_name("volume name", bad).is_err(), "{bad:?}");
        }
        check_name("volume name", "cache-1").unwrap();
    }
}
