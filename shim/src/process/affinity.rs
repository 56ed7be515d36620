//! `process.execCPUAffinity`: the CPUs of a further process, before and after it joins the cgroup.

use std::io;

use oci_spec::runtime::ExecCPUAffinity;

use super::{SetupError, StartError};

/// More CPUs than any kernel has (CONFIG_NR_CPUS is 8192 at most).
const CPUS_MAX: usize = 8192;

/// Bit masks of CPUs; none leaves the affinity as it is.
#[derive(Debug, Clone, Default)]
pub struct Affinity {
    initial: Option<Vec<u64>>,
    last: Option<Vec<u64>>,
}

impl Affinity {
    pub fn from_spec(spec: Option<&ExecCPUAffinity>) -> Result<Self, SetupError> {
        let mask = |list: Option<&String>| list.map(|list| mask(list)).transpose();
        Ok(Self {
            initial: mask(spec.and_then(|spec| spec.initial().as_ref()))?,
            last: mask(spec.and_then(|spec| spec.cpu_affinity_final().as_ref()))?,
        })
    }

    /// For the time until the process is in its cgroup.
    pub fn set_initial(&self) -> Result<(), StartError> {
        set("initial", self.initial.as_deref())
    }

    /// For good.
    pub fn set_final(&self) -> Result<(), StartError> {
        set("final", self.last.as_deref())
    }
}

fn set(which: &str, mask: Option<&[u64]>) -> Result<(), StartError> {
    let Some(mask) = mask else {
        return Ok(());
    };
    // SAFETY: pointer and length are of one slice, which the kernel reads.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(mask), mask.as_ptr().cast()) };
    if result == 0 {
        return Ok(());
    }
    let cause = io::Error::last_os_error();
    Err(StartError::other(format!(
        "can't set the {which} execCPUAffinity: {cause}"
    )))
}

/// The bits of a list such as `0-3,7`.
fn mask(list: &str) -> Result<Vec<u64>, SetupError> {
    let bad = || SetupError::Invalid {
        field: "process.execCPUAffinity",
        why: format!("{list:?} is no list of CPUs such as 0-3,7"),
    };
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|&number: &usize| number < CPUS_MAX)
            .ok_or_else(bad)
    };
    let mut mask = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(bad());
        }
        for cpu in first..=last {
            let word = cpu / 64;
            if mask.len() <= word {
                mask.resize(word + 1, 0);
            }
            mask[word] |= 1 << (cpu % 64);
        }
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn lists_become_masks() {
        assert_eq!(mask("0-3,7").ok(), Some(vec![0x8f]));
        assert_eq!(mask("64, 1").ok(), Some(vec![2, 1]));
        for bad in ["", "a", "3-1", "1-", "9000", "-1", "0,,1"] {
            assert!(mask(bad).is_err(), "{bad}");
        }
    }
}
