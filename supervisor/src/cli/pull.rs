//! The options that say how images are pulled.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use carob_bundles::image::pull::DEFAULT_HOSTS_DIRECTORY;
use clap::Args;

use crate::images::{PARALLEL_PULLS, PullSecrets, PullSettings};

/// How images are pulled.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Where HOST/hosts.toml says which mirrors, certificates and plain HTTP a registry has, as containerd reads it
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = DEFAULT_HOSTS_DIRECTORY,
        env = "CAROB_REGISTRY_CONFIG_DIR"
    )]
    registry_config_dir: PathBuf,
    /// How many images are pulled at a time from one registry
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = PARALLEL_PULLS,
        env = "CAROB_MAX_PARALLEL_IMAGE_PULLS"
    )]
    max_parallel_image_pulls: NonZeroUsize,
    /// What a Pod's imagePullSecrets names: a file as docker login writes it, which is what a Secret of type
    /// kubernetes.io/dockerconfigjson holds; may be given several times
    #[arg(long, global = true, value_name = "NAME=FILE", value_parser = secret)]
    pull_secret: Vec<(String, PathBuf)>,
}

impl PullArgs {
    /// What was chosen.
    pub fn settings(self) -> PullSettings {
        PullSettings {
            hosts_directory: self.registry_config_dir,
            parallel: self.max_parallel_image_pulls,
            secrets: PullSecrets::new(self.pull_secret),
        }
    }
}

fn secret(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err("write NAME=FILE".to_owned()),
    }
}
