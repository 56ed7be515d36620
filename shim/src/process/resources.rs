//! What a process may use by itself: resource limits, scheduling and I/O priority.

use std::io;

use oci_spec::runtime::{
    IOPriorityClass, LinuxSchedulerFlag, LinuxSchedulerPolicy, PosixRlimitType, Process,
};

use super::{SetupError, StartError, sys};

const CAP_SYS_RESOURCE: u32 = 24;

/// The resource limits, the scheduling and the I/O priority of the process.
#[derive(Debug, Clone)]
pub struct Resources {
    limits: Vec<(PosixRlimitType, libc::rlimit64)>,
    /// Whether hard limits can be raised.
    may_raise: bool,
    io_priority: Option<i32>,
    scheduler: Option<SchedAttr>,
}

/// `struct sched_attr` (sched_setattr(2)), version 0.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl Resources {
    pub fn from_spec(process: &Process) -> Result<Self, SetupError> {
        let may_raise = sys::capget().is_ok_and(|caps| caps.effective & 1 << CAP_SYS_RESOURCE != 0);
        let mut limits: Vec<(PosixRlimitType, libc::rlimit64)> = Vec::new();
        for limit in process.rlimits().iter().flatten() {
            let bad = |why: String| SetupError::Invalid {
                field: "process.rlimits",
                why,
            };
            if limits.iter().any(|(other, _)| *other == limit.typ()) {
                return Err(bad(format!("{} is there twice", limit.typ())));
            }
            if limit.soft() > limit.hard() {
                return Err(bad(format!(
                    "{}: the soft limit {} is above the hard one {}",
                    limit.typ(),
                    limit.soft(),
                    limit.hard()
                )));
            }
            let value = libc::rlimit64 {
                rlim_cur: limit.soft(),
                rlim_max: limit.hard(),
            };
            limits.push((limit.typ(), value));
        }
        Ok(Self {
            limits,
            may_raise,
            io_priority: process.io_priority().as_ref().map(|io| {
                let class = match io.class() {
                    IOPriorityClass::IoprioClassRt => 1,
                    IOPriorityClass::IoprioClassBe => 2,
                    IOPriorityClass::IoprioClassIdle => 3,
                };
                // ioprio_set(2): the class in the upper bits, 0 to 7 in the lower.
                class << 13 | i32::try_from(io.priority().clamp(0, 7)).unwrap_or(0)
            }),
            scheduler: scheduler(process)?,
        })
    }

    /// Sets scheduling and I/O priority.
    pub fn prioritize(&self) -> Result<(), StartError> {
        const IOPRIO_WHO_PROCESS: i32 = 1;
        if let Some(priority) = self.io_priority {
            // SAFETY: plain numbers.
            if unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, priority) } != 0
            {
                return Err(StartError::last("set process.ioPriority"));
            }
        }
        if let Some(attr) = &self.scheduler {
            // SAFETY: the structure is the kernel's and has its size in it.
            if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0) }
                != 0
            {
                return Err(StartError::last("set process.scheduler"));
            }
        }
        Ok(())
    }

    /// Sets the resource limits. A hard limit that can't be raised stays, and a soft one above it
    /// comes down to it.
    pub fn limit(&self) -> Result<(), StartError> {
        for (kind, wanted) in &self.limits {
            let number = number(*kind);
            let result = match set(number, wanted) {
                Err(cause) if cause.raw_os_error() == Some(libc::EPERM) && !self.may_raise => {
                    get(number).and_then(|present| {
                        let hard = wanted.rlim_max.min(present.rlim_max);
                        set(
                            number,
                            &libc::rlimit64 {
                                rlim_cur: wanted.rlim_cur.min(hard),
                                rlim_max: hard,
                            },
                        )
                    })
                }
                result => result,
            };
            result.map_err(|cause| {
                let (soft, hard) = (wanted.rlim_cur, wanted.rlim_max);
                StartError::other(format!(
                    "can't set {kind} to {soft} (at most {hard}): {cause}"
                ))
            })?;
        }
        Ok(())
    }

    /// The limits that have to be reduced, for a message.
    pub fn reduced(&self) -> Vec<PosixRlimitType> {
        self.limits
            .iter()
            .filter(|(kind, wanted)| {
                !self.may_raise
                    && get(number(*kind)).is_ok_and(|present| wanted.rlim_max > present.rlim_max)
            })
            .map(|(kind, _)| *kind)
            .collect()
    }
}

fn set(number: u32, value: &libc::rlimit64) -> io::Result<()> {
    // SAFETY: `value` is valid, the old value is not asked for.
    if unsafe { libc::prlimit64(0, number, value, std::ptr::null_mut()) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

fn get(number: u32) -> io::Result<libc::rlimit64> {
    let mut value = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `value` is a valid place for the result, nothing is set.
    if unsafe { libc::prlimit64(0, number, std::ptr::null(), &raw mut value) } == 0 {
        return Ok(value);
    }
    Err(io::Error::last_os_error())
}

fn number(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    }
}

fn scheduler(process: &Process) -> Result<Option<SchedAttr>, SetupError> {
    let Some(scheduler) = process.scheduler() else {
        return Ok(None);
    };
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                LinuxSchedulerFlag::SchedResetOnFork => 0x01,
                LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
                LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
                LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
                LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
                LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
                LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
            }
    });
    let priority = scheduler.priority().unwrap_or(0);
    Ok(Some(SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy,
        flags,
        nice: scheduler.nice().unwrap_or(0),
        priority: u32::try_from(priority).map_err(|_| SetupError::Invalid {
            field: "process.scheduler.priority",
            why: format!("{priority} is negative"),
        })?,
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    }))
}
