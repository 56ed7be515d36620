//! Leases: what containerd's garbage collector must spare though no image or container has it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use carob_bundles::image::digest::Digest;
use carob_bundles::image::error::Result;
use carob_bundles::image::store::Owner;
use containerd_client::services::v1::{
    AddResourceRequest, CreateRequest, DeleteRequest, Lease, ListRequest, ListResourcesRequest,
    Resource,
};
use containerd_client::tonic::Code;
use jiff::{SignedDuration, Timestamp};

use super::{ContainerdImages, refused};
use crate::containerd::{QUICK, SLOW};

/// The start of the IDs of leases that Pods have; their UIDs follow.
const POD: &str = "carob-pod-";
/// The path of the record of the Pod that has the lease: without it there is no such Pod any more.
const RECORD: &str = "carob.record";
/// For people: `namespace/pod`.
const NAME: &str = "carob.pod";
/// When a lease that nobody deleted ends (containerd documentation, "Garbage Collection").
const EXPIRE: &str = "containerd.io/gc.expire";
/// As containerd's own clients have it.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// In whose name something is kept.
#[derive(Debug, Clone, Copy)]
pub enum Holder<'a> {
    /// A Pod, until it is gone.
    Pod(&'a Owner),
    /// This one call; should nobody end it, for a day.
    Call(&'a str),
}

impl Holder<'_> {
    /// The lease's ID.
    pub fn id(&self) -> String {
        match self {
            // The record is named by the Pod's UID.
            Self::Pod(owner) => {
                let uid = owner.record.file_stem().unwrap_or_default();
                format!("{POD}{}", uid.to_string_lossy())
            }
            Self::Call(id) => (*id).to_owned(),
        }
    }
}

impl ContainerdImages {
    /// Makes the lease unless it is there.
    pub(super) async fn hold(&self, holder: Holder<'_>) -> Result<()> {
        let id = holder.id();
        if self.held.borrow().contains_key(&id) {
            return Ok(());
        }
        let labels = match holder {
            Holder::Pod(owner) => vec![
                (RECORD, owner.record.display().to_string()),
                (NAME, owner.name.clone()),
            ],
            Holder::Call(_) => {
                let end = Timestamp::now() + LONGEST;
                vec![(
                    EXPIRE,
                    end.round(jiff::Unit::Second).unwrap_or(end).to_string(),
                )]
            }
        };
        let message = CreateRequest {
            id: id.clone(),
            labels: labels
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        };
        let made = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.leases().create(request).await
            })
            .await;
        match made {
            Err(status) if status.code() != Code::AlreadyExists => {
                Err(refused(format!("make the lease {id}"), &status))
            }
            _ => {
                self.held.borrow_mut().entry(id).or_default();
                Ok(())
            }
        }
    }

    /// Adds an image, by what its name stands for, to a lease. GC labels lead from it to all else.
    pub(super) async fn keep(&self, target: &Digest, holder: Holder<'_>) -> Result<()> {
        self.hold(holder).await?;
        let id = holder.id();
        let known = |held: &super::Held| held.get(&id).is_some_and(|kept| kept.contains(target));
        if known(&self.held.borrow()) {
            return Ok(());
        }
        let message = AddResourceRequest {
            id: id.clone(),
            resource: Some(Resource {
                id: target.to_string(),
                r#type: "content".to_owned(),
            }),
        };
        let added = self
            .client
            .ask(QUICK, message, |services, request| async move {
                services.leases().add_resource(request).await
            })
            .await;
        match added {
            Err(status) if status.code() != Code::AlreadyExists => {
                Err(refused(format!("keep {target}"), &status))
            }
            _ => {
                let mut held = self.held.borrow_mut();
                held.entry(id).or_default().insert(target.clone());
                Ok(())
            }
        }
    }

    /// Ends a lease; one that is not there is fine. What an unfinished pull left is gone then too.
    pub(super) async fn let_go(&self, id: &str) -> Result<()> {
        self.held.borrow_mut().remove(id);
        let message = DeleteRequest {
            id: id.to_owned(),
            // Else it would be there until containerd thinks of it. Otherwise nothing is to be collected.
            sync: self.unfinished.borrow_mut().remove(id),
        };
        let deleted = self
            .client
            .ask(SLOW, message, |services, request| async move {
                services.leases().delete(request).await
            })
            .await;
        match deleted {
            Err(status) if status.code() != Code::NotFound => {
                Err(refused(format!("end the lease {id}"), &status))
            }
            _ => Ok(()),
        }
    }

    /// The Pods' leases, and the record of each.
    async fn pods(&self) -> Result<Vec<(Lease, PathBuf)>> {
        let listed = self
            .client
            .ask(
                QUICK,
                ListRequest::default(),
                |services, request| async move { services.leases().list(request).await },
            )
            .await;
        let listed = listed.map_err(|status| refused("list leases", &status))?;
        let pods = listed.leases.into_iter().filter_map(|lease| {
            let record = PathBuf::from(lease.labels.get(RECORD)?);
            lease.id.starts_with(POD).then_some((lease, record))
        });
        Ok(pods.collect())
    }

    /// Names of the Pods that use an image.
    pub(super) async fn users_of(&self, target: &Digest) -> Result<Vec<String>> {
        let mut users = Vec::new();
        for (lease, record) in self.pods().await? {
            if is_gone(&record) {
                continue;
            }
            let message = ListResourcesRequest {
                id: lease.id.clone(),
            };
            let listed = self
                .client
                .ask(QUICK, message, |services, request| async move {
                    services.leases().list_resources(request).await
                })
                .await;
            let resources: BTreeSet<_> = match listed {
                Ok(listed) => listed.resources.into_iter().map(|r| r.id).collect(),
                Err(status) if status.code() == Code::NotFound => continue,
                Err(status) => return Err(refused("list what leases keep", &status)),
            };
            if resources.contains(&target.to_string()) {
                users.push(lease.labels.get(NAME).cloned().unwrap_or(lease.id));
            }
        }
        Ok(users)
    }

    /// Removes what Pods that are gone have left, and tells how many there were.
    ///
    /// # Errors
    /// containerd's own.
    pub async fn prune(&self) -> Result<usize> {
        let mut ended = 0;
        for (lease, record) in self.pods().await? {
            if is_gone(&record) {
                self.end(&lease.id).await?;
                ended += 1;
            }
        }
        Ok(ended)
    }
}

/// One that can't be looked at may well be there.
fn is_gone(record: &Path) -> bool {
    matches!(record.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
}
