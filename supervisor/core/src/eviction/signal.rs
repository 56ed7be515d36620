//! What is watched: the names are a kubelet's (`pkg/kubelet/eviction/api/types.go`), and stalls beside them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::manager::NodeCondition;
use super::threshold::ThresholdError;

/// Something that may run short on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Capacity less the working set. Bytes.
    MemoryAvailable,
    /// Free space where volumes, logs and records are. Bytes.
    NodefsAvailable,
    /// Free inodes there.
    NodefsInodesFree,
    /// Free space where images and writable layers are. Bytes.
    ImagefsAvailable,
    /// Free inodes there.
    ImagefsInodesFree,
    /// Processes that may still be made.
    PidAvailable,
    /// Share of time in which all tasks waited for memory at once ([PSI](https://docs.kernel.org/accounting/psi.html)
    /// `full`, over 10 s). Hundredths of a percent. Not a kubelet's.
    MemoryPressure,
    /// The same for I/O. Nothing is evicted for it: no ranking tells who waits for whom.
    IoPressure,
    /// Share of time in which some task waited for a CPU. Nothing is evicted for it.
    CpuPressure,
}

/// What is taken from Pods when a signal fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Space on disk.
    EphemeralStorage,
    /// Inodes.
    Inodes,
    /// Process IDs.
    Pids,
}

impl Resource {
    /// As a kubelet's messages name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::EphemeralStorage => "ephemeral-storage",
            Self::Inodes => "inodes",
            Self::Pids => "pids",
        }
    }
}

/// How much there is of what a signal watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// What is left; of a pressure the share of time, in hundredths of a percent. In the signal's unit.
    pub available: i64,
    /// What there would be if nothing were used.
    pub capacity: i64,
}

/// What was seen. A signal that could not be read is absent, and no threshold on it is met.
pub type Observations = BTreeMap<Signal, Observation>;

impl Signal {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MemoryAvailable,
        Self::NodefsAvailable,
        Self::NodefsInodesFree,
        Self::ImagefsAvailable,
        Self::ImagefsInodesFree,
        Self::PidAvailable,
        Self::MemoryPressure,
        Self::IoPressure,
        Self::CpuPressure,
    ];

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodefsAvailable => "nodefs.available",
            Self::NodefsInodesFree => "nodefs.inodesFree",
            Self::ImagefsAvailable => "imagefs.available",
            Self::ImagefsInodesFree => "imagefs.inodesFree",
            Self::PidAvailable => "pid.available",
            Self::MemoryPressure => "memory.pressure",
            Self::IoPressure => "io.pressure",
            Self::CpuPressure => "cpu.pressure",
        }
    }

    /// True for a share of time: bad when it is high.
    pub fn is_pressure(self) -> bool {
        matches!(
            self,
            Self::MemoryPressure | Self::IoPressure | Self::CpuPressure
        )
    }

    /// What a Pod must give back; none when no eviction would help.
    pub fn resource(self) -> Option<Resource> {
        match self {
            Self::MemoryAvailable | Self::MemoryPressure => Some(Resource::Memory),
            Self::NodefsAvailable | Self::ImagefsAvailable => Some(Resource::EphemeralStorage),
            Self::NodefsInodesFree | Self::ImagefsInodesFree => Some(Resource::Inodes),
            Self::PidAvailable => Some(Resource::Pids),
            Self::IoPressure | Self::CpuPressure => None,
        }
    }

    /// The machine's condition while a threshold on it is met.
    pub fn condition(self) -> Option<NodeCondition> {
        match self.resource()? {
            Resource::Memory => Some(NodeCondition::MemoryPressure),
            Resource::EphemeralStorage | Resource::Inodes => Some(NodeCondition::DiskPressure),
            Resource::Pids => Some(NodeCondition::PidPressure),
        }
    }

    /// True when it counts bytes.
    pub(super) fn in_bytes(self) -> bool {
        matches!(
            self,
            Self::MemoryAvailable | Self::NodefsAvailable | Self::ImagefsAvailable
        )
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Signal {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.as_str() == text)
            .ok_or_else(|| ThresholdError::Signal(text.chars().take(64).collect()))
    }
}
