//! The flags of eviction: a kubelet's, in its syntax.

use carob_core::eviction::{Config, ImagePolicy, Thresholds};
use clap::Args;

use crate::pressure::Settings;

/// When Pods are ended because the machine is short of something.
#[derive(Debug, Args)]
#[command(next_help_heading = "Eviction")]
pub struct EvictionArgs {
    /// Evict at once below these, such as memory.available<100Mi,nodefs.available<10%; a kubelet's own by default
    #[arg(long, value_name = "SIGNAL<AMOUNT,…", value_delimiter = ',')]
    eviction_hard: Option<Vec<String>>,
    /// Evict below these once their grace period is over
    #[arg(long, value_name = "SIGNAL<AMOUNT,…", value_delimiter = ',')]
    eviction_soft: Vec<String>,
    /// How long a soft threshold must be crossed, such as memory.available=1m30s
    #[arg(long, value_name = "SIGNAL=TIME,…", value_delimiter = ',')]
    eviction_soft_grace_period: Vec<String>,
    /// How much more than the threshold must be there again, such as imagefs.available=2Gi
    #[arg(long, value_name = "SIGNAL=AMOUNT,…", value_delimiter = ',')]
    eviction_minimum_reclaim: Vec<String>,
    /// Seconds that a Pod gets at most to end when a soft threshold is met
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    eviction_max_pod_grace_period: u64,
    /// Seconds for which a condition of the machine stays after it was seen last
    #[arg(long, value_name = "SECONDS", default_value_t = Config::TRANSITION_MS / 1000)]
    eviction_pressure_transition_period: u64,
    /// Only tell in the log what would be evicted and removed
    #[arg(long)]
    eviction_dry_run: bool,
    /// Percent of the images' disk in use from which on unused images are removed; 100 for never
    #[arg(long, value_name = "PERCENT", default_value_t = ImagePolicy::default().high_percent)]
    image_gc_high_threshold: u8,
    /// Percent down to which they are
    #[arg(long, value_name = "PERCENT", default_value_t = ImagePolicy::default().low_percent)]
    image_gc_low_threshold: u8,
    /// Look at the memory and process IDs of this cgroup instead of the whole machine's
    #[arg(long, value_name = "CGROUP")]
    eviction_cgroup: Option<String>,
}

impl EvictionArgs {
    /// What they mean, and the cgroup.
    ///
    /// # Errors
    /// When a threshold is none.
    pub fn settings(self) -> anyhow::Result<(Settings, Option<String>)> {
        let defaults = Thresholds::kubelet();
        // A list of one empty text is what an empty flag is: no thresholds at all.
        let hard = self.eviction_hard.unwrap_or(defaults.hard);
        let thresholds = Thresholds {
            hard: hard.into_iter().filter(|text| !text.is_empty()).collect(),
            soft: self.eviction_soft,
            soft_grace_period: self.eviction_soft_grace_period,
            minimum_reclaim: self.eviction_minimum_reclaim,
        };
        let config = Config {
            thresholds: thresholds.parse()?,
            max_pod_grace_seconds: self.eviction_max_pod_grace_period,
            transition_ms: self
                .eviction_pressure_transition_period
                .saturating_mul(1000),
        };
        let settings = Settings {
            config,
            dry_run: self.eviction_dry_run,
            images: ImagePolicy {
                high_percent: self.image_gc_high_threshold,
                low_percent: self.image_gc_low_threshold,
                ..ImagePolicy::default()
            }
            .checked()?,
        };
        Ok((settings, self.eviction_cgroup))
    }
}
