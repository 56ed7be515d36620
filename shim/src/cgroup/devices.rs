//! `linux.resources.devices`: which device nodes a container may open and make.
//!
//! OCI's rules count in order, the last one that matches decides. What runc allows every container
//! (`/dev/null` and its like, making any node) comes last.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::limits::Occasion;
use super::{Cgroup, CgroupError, device_filter};

/// Reading, writing, making a node: the kernel's BPF_DEVCG_ACC_* bits.
pub const MKNOD: u32 = 1;
pub const READ: u32 = 2;
pub const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

/// The kind of a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Block,
    Char,
}

/// One rule. `None` stands for any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub allow: bool,
    pub kind: Option<Kind>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u32,
}

impl Rule {
    const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: u32) -> Self {
        Self {
            allow: true,
            kind: Some(kind),
            major,
            minor,
            access,
        }
    }

    /// Whether it is about every device and every access, so that no rule before it counts.
    pub fn is_total(&self) -> bool {
        matches!(
            self,
            Self {
                kind: None,
                major: None,
                minor: None,
                access: ALL,
                ..
            }
        )
    }

    fn from_spec(rule: &LinuxDeviceCgroup) -> Result<Self, CgroupError> {
        let bad = |why: String| CgroupError::BadLimit {
            limit: "resources.devices".to_owned(),
            why,
        };
        let kind = match rule.typ() {
            None | Some(LinuxDeviceType::A) => None,
            Some(LinuxDeviceType::B) => Some(Kind::Block),
            Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(Kind::Char),
            Some(LinuxDeviceType::P) => return Err(bad("a FIFO ('p') is no device".to_owned())),
        };
        // -1 stands for any, as in runc.
        let number = |value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => u32::try_from(value)
                .map(Some)
                .map_err(|_| bad(format!("{value} is no device number"))),
        };
        let mut access = 0;
        for letter in rule.access().as_deref().unwrap_or_default().chars() {
            access |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(bad(format!("access {letter:?} is not one of r, w, m"))),
            };
        }
        // The kernel's own word for "everything" has no numbers.
        if kind.is_none() && (number(rule.major())?.is_some() || number(rule.minor())?.is_some()) {
            return Err(bad(
                "a rule for type 'a' can't have a device number".to_owned()
            ));
        }
        Ok(Self {
            allow: rule.allow(),
            kind,
            major: number(rule.major())?,
            minor: number(rule.minor())?,
            access: if access == 0 { ALL } else { access },
        })
    }
}

/// Devices that every container may use (runc's `AllowedDevices`).
const DEFAULTS: [Rule; 10] = [
    Rule::allow(Kind::Char, None, None, MKNOD),
    Rule::allow(Kind::Block, None, None, MKNOD),
    Rule::allow(Kind::Char, Some(1), Some(3), ALL), // /dev/null
    Rule::allow(Kind::Char, Some(1), Some(8), ALL), // /dev/random
    Rule::allow(Kind::Char, Some(1), Some(7), ALL), // /dev/full
    Rule::allow(Kind::Char, Some(5), Some(0), ALL), // /dev/tty
    Rule::allow(Kind::Char, Some(1), Some(5), ALL), // /dev/zero
    Rule::allow(Kind::Char, Some(1), Some(9), ALL), // /dev/urandom
    Rule::allow(Kind::Char, Some(136), None, ALL),  // /dev/pts/*
    Rule::allow(Kind::Char, Some(5), Some(2), ALL), // /dev/ptmx
];

/// The rules that count, the first being total: everything is denied when the spec says nothing.
fn rules(spec: &[LinuxDeviceCgroup]) -> Result<Vec<Rule>, CgroupError> {
    let deny_all = Rule {
        allow: false,
        kind: None,
        major: None,
        minor: None,
        access: ALL,
    };
    let mut rules = vec![deny_all];
    for rule in spec {
        let rule = Rule::from_spec(rule)?;
        if rule.is_total() {
            rules.clear();
        }
        rules.push(rule);
    }
    // With everything allowed and nothing taken back, there is nothing to add.
    if rules.iter().any(|rule| !rule.allow) {
        rules.extend(DEFAULTS);
    }
    Ok(rules)
}

/// Sets the rules, in the v1 devices controller or by a program on the v2 cgroup.
pub fn apply(
    cgroup: &Cgroup,
    spec: &[LinuxDeviceCgroup],
    occasion: Occasion,
) -> Result<(), CgroupError> {
    let rules = rules(spec)?;
    let unrestricted = rules.iter().all(|rule| rule.allow);
    // A new cgroup has what its parent has.
    if unrestricted && occasion == Occasion::Create {
        return Ok(());
    }
    if let Some(dir) = cgroup.dirs.iter().find(|dir| dir.hierarchy.has("devices")) {
        for rule in &rules {
            dir.write(
                if rule.allow {
                    "devices.allow"
                } else {
                    "devices.deny"
                },
                &line(rule),
            )?;
        }
        return Ok(());
    }
    match cgroup.unified() {
        Some(dir) => device_filter::attach(dir, &rules),
        None => Err(CgroupError::MissingController {
            limit: "resources.devices".to_owned(),
            controller: "devices",
            path: cgroup.path.clone(),
        }),
    }
}

/// A rule as a v1 line (kernel: Documentation/admin-guide/cgroup-v1/devices.rst).
fn line(rule: &Rule) -> String {
    let Some(kind) = rule.kind else {
        return "a".to_owned();
    };
    let number = |value: Option<u32>| value.map_or("*".to_owned(), |value| value.to_string());
    let mut line = format!(
        "{} {}:{} ",
        if kind == Kind::Block { 'b' } else { 'c' },
        number(rule.major),
        number(rule.minor)
    );
    for (bit, letter) in [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')] {
        if rule.access & bit != 0 {
            line.push(letter);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxDeviceCgroupBuilder;

    fn spec(
        allow: bool,
        kind: LinuxDeviceType,
        major: Option<i64>,
        access: &str,
    ) -> LinuxDeviceCgroup {
        let builder = LinuxDeviceCgroupBuilder::default()
            .allow(allow)
            .typ(kind)
            .access(access);
        match major {
            Some(major) => builder.major(major).build(),
            None => builder.build(),
        }
        .expect("all fields are set")
    }

    #[test]
    fn nothing_said_denies_all_but_the_defaults() {
        let rules = rules(&[]).expect("no rule is wrong");
        assert!(rules[0].is_total() && !rules[0].allow);
        assert_eq!(rules[1..], DEFAULTS);
    }

    #[test]
    fn a_total_rule_makes_those_before_it_void() {
        let given = [
            spec(true, LinuxDeviceType::C, Some(10), "rw"),
            spec(true, LinuxDeviceType::A, None, "rwm"),
        ];
        assert_eq!(rules(&given).expect("no rule is wrong").len(), 1);
    }

    #[test]
    fn lines_are_the_kernels() {
        let rule = Rule::from_spec(&spec(true, LinuxDeviceType::B, Some(8), "rm")).expect("right");
        assert_eq!(line(&rule), "b 8:* rm");
        assert_eq!(line(&DEFAULTS[2]), "c 1:3 rwm");
    }

    #[test]
    fn wrong_rules_are_refused() {
        for rule in [
            spec(true, LinuxDeviceType::P, None, "r"),
            spec(true, LinuxDeviceType::C, Some(-2), "r"),
            spec(true, LinuxDeviceType::C, Some(1 << 33), "r"),
            spec(true, LinuxDeviceType::C, Some(1), "x"),
            spec(true, LinuxDeviceType::A, Some(1), "r"),
        ] {
            assert!(Rule::from_spec(&rule).is_err(), "{rule:?}");
        }
    }
}
