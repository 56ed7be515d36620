//! Which errors of a registry pass by themselves, and how long to wait for that.

use std::time::Duration;

use crate::image::error::{ImageError, Result};

/// The tries that are left for one request.
#[derive(Debug)]
pub(super) struct Tries {
    left: u32,
    delay: Duration,
}

const TRIES: u32 = 4;
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Longer waits are for the caller's own back-off, which people can see.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl Tries {
    pub(super) fn new() -> Self {
        Self {
            left: TRIES,
            delay: FIRST_DELAY,
        }
    }

    /// Waits, or returns the error when it is no use to try again.
    pub(super) async fn again(&mut self, error: ImageError) -> Result<()> {
        let wait = match &error {
            ImageError::RateLimited { retry_after, .. } => retry_after.unwrap_or(self.delay),
            ImageError::Unavailable { .. } => self.delay,
            _ => return Err(error),
        };
        if self.left == 0 || wait > LONGEST_WAIT {
            return Err(error);
        }
        tracing::debug!(%error, ?wait, "trying again");
        self.left -= 1;
        self.delay *= 2;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
