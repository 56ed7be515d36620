//! carob: keeps Kubernetes Pods on one machine, as a kubelet would.

fn main() {}
