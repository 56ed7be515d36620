//! The limits that are one or two files each: pids, huge pages, network classes, RDMA, and v2 files
//! by name.

use oci_spec::runtime::LinuxResources;

use super::super::dir::Dir;
use super::super::{Cgroup, CgroupError};
use super::{or_max, set};

pub fn apply(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    // 0 is "not set", as in runc.
    if let Some(limit) = resources
        .pids()
        .as_ref()
        .map(|pids| pids.limit())
        .filter(|&limit| limit != 0)
    {
        set(
            cgroup.dir_for("pids", "resources.pids.limit")?,
            "pids.limit",
            "pids.max",
            &or_max(limit),
        )?;
    }
    huge_pages(cgroup, resources)?;
    network(cgroup, resources)?;
    rdma(cgroup, resources)?;
    unified(cgroup, resources)
}

fn huge_pages(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    for huge in resources.hugepage_limits().iter().flatten() {
        let size = huge.page_size();
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(CgroupError::BadLimit {
                limit: "hugepageLimits.pageSize".to_owned(),
                why: format!("{size:?} is no page size such as 2MB"),
            });
        }
        let Some(dir) = cgroup.dir("hugetlb") else {
            // containerd gives a limit of 0 for every size, whatever the machine has.
            if huge.limit() == 0 {
                tracing::debug!(size, "no hugetlb controller: the limit of 0 is left out");
                continue;
            }
            cgroup.dir_for("hugetlb", "resources.hugepageLimits")?;
            continue;
        };
        let (file, reserved, value) = if dir.hierarchy.unified {
            (
                format!("hugetlb.{size}.max"),
                format!("hugetlb.{size}.rsvd.max"),
                or_max(huge.limit()),
            )
        } else {
            (
                format!("hugetlb.{size}.limit_in_bytes"),
                format!("hugetlb.{size}.rsvd.limit_in_bytes"),
                huge.limit().max(-1).to_string(),
            )
        };
        set(dir, "hugepageLimits", &file, &value)?;
        // Reservations are counted since Linux 5.7.
        if dir.has(&reserved) {
            set(dir, "hugepageLimits", &reserved, &value)?;
        }
    }
    Ok(())
}

fn network(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    let Some(network) = resources.network() else {
        return Ok(());
    };
    if let Some(class) = network.class_id().filter(|&class| class != 0) {
        let dir = cgroup.dir_for("net_cls", "resources.network.classID")?;
        set(
            dir,
            "network.classID",
            "net_cls.classid",
            &class.to_string(),
        )?;
    }
    for interface in network.priorities().iter().flatten() {
        let dir = cgroup.dir_for("net_prio", "resources.network.priorities")?;
        let line = format!("{} {}", interface.name(), interface.priority());
        set(dir, "network.priorities", "net_prio.ifpriomap", &line)?;
    }
    Ok(())
}

fn rdma(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    for (device, limits) in resources.rdma().iter().flatten() {
        let dir = cgroup.dir_for("rdma", "resources.rdma")?;
        let mut line = device.clone();
        if let Some(handles) = limits.hca_handles() {
            line.push_str(&format!(" hca_handle={handles}"));
        }
        if let Some(objects) = limits.hca_objects() {
            line.push_str(&format!(" hca_object={objects}"));
        }
        set(dir, "rdma", "rdma.max", &line)?;
    }
    Ok(())
}

/// `resources.unified`: files of the v2 cgroup by name.
fn unified(cgroup: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    for (file, value) in resources.unified().iter().flatten() {
        let bad = |why: &str| CgroupError::BadLimit {
            limit: format!("unified[{file:?}]"),
            why: why.to_owned(),
        };
        // A file of a controller, not one that moves processes (cgroup.procs) or lies elsewhere.
        if file.contains('/') || file.starts_with("cgroup.") || !file.contains('.') {
            return Err(bad("it is not a file of a controller, such as memory.high"));
        }
        let dir: &Dir = cgroup
            .unified()
            .filter(|_| cgroup.is_v2())
            .ok_or_else(|| bad("this machine has cgroup v1"))?;
        for line in value.lines().filter(|line| !line.trim().is_empty()) {
            set(dir, &format!("unified[{file:?}]"), file, line)?;
        }
    }
    Ok(())
}
