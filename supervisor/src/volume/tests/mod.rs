//! Volumes for real: mounts, symbolic links, races. Needs root; each test has mounts of its own.

mod empty_dir;
mod host_path;
mod place;
mod sub_path;
mod teardown;
