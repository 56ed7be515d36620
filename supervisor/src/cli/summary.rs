//! Short texts for people: a container's state as kubectl's STATUS column has it, sizes in bytes.

use carob_core::status::{ContainerState, ContainerStatus, PodStatus};

/// Each container's name and state, init containers first.
pub fn container_texts(status: &PodStatus) -> impl Iterator<Item = (String, String)> {
    status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .map(|c| (c.name.clone(), text(c)))
}

fn text(container: &ContainerStatus) -> String {
    let ContainerState {
        waiting,
        running,
        terminated,
    } = &container.state;
    let state = if running.is_some() {
        "Running".to_owned()
    } else if let Some(ended) = terminated {
        match ended.exit_code {
            0 => ended.reason.clone(),
            code => format!("{} (exit code {code})", ended.reason),
        }
    } else if let Some(waiting) = waiting {
        match &waiting.message {
            Some(message) => format!("{} ({message})", waiting.reason),
            None => waiting.reason.clone(),
        }
    } else {
        "Unknown".to_owned()
    };
    match container.restart_count {
        0 => state,
        1 => format!("{state}, restarted once"),
        n => format!("{state}, restarted {n} times"),
    }
}

/// `17 B`, `3.2 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let (mut value, mut unit) = (n as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_read_them() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(3_355_443), "3.2 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
    }
}
