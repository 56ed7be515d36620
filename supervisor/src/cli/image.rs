//! `carob image`: what is in the store, and how it gets there.

use std::path::PathBuf;
use std::process::ExitCode;

use carob_bundles::image::error::ImageError;
use carob_bundles::image::import::ImportOptions;
use carob_bundles::image::overlay::Image;
use carob_bundles::image::reference::Reference;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::summary;
use crate::images::{Images, Step};

/// What `carob image` is told.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Import an OCI layout (directory or archive) or a docker archive
    Import {
        /// The directory or archive, also compressed
        path: PathBuf,
        /// The name that the image gets; needed when it has none
        #[arg(long)]
        name: Option<String>,
    },
    /// Pull images from their registries
    Pull {
        /// Names, such as busybox:1.36 or registry.example/team/app@sha256:...
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// List images
    Ls,
    /// Remove images by name or ID
    Rm {
        /// Names or IDs
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Show all about an image as JSON
    Inspect {
        /// Name or ID
        image: String,
    },
}

/// Does what was asked.
///
/// # Errors
/// One sentence that names the image and the cause.
pub async fn image(args: ImageArgs, images: &Images) -> anyhow::Result<ExitCode> {
    match args.command {
        ImageCommand::Import { path, name } => {
            let name = name.map(|name| name.parse::<Reference>()).transpose()?;
            let options = ImportOptions {
                name,
                ..ImportOptions::default()
            };
            for image in images.import(&path, &options).await? {
                if image.references.is_empty() {
                    println!("{}", image.id);
                }
                // All, as an image that was here already keeps the names that it had.
                image.references.iter().for_each(|name| println!("{name}"));
            }
        }
        ImageCommand::Pull { images: names } => {
            for name in names {
                let pulled = pull(images, &name.parse()?).await?;
                println!(
                    "{}",
                    pulled
                        .digests
                        .first()
                        .map_or_else(|| pulled.id.to_string(), Clone::clone)
                );
            }
        }
        ImageCommand::Ls => list(&images.list().await?),
        ImageCommand::Rm { images: names } => {
            for name in names {
                let removed = images.remove(&name).await?;
                removed
                    .untagged
                    .iter()
                    .for_each(|name| println!("untagged {name}"));
                removed
                    .deleted
                    .iter()
                    .for_each(|id| println!("deleted {id}"));
            }
        }
        ImageCommand::Inspect { image } => {
            let image = images.find(&image).await?;
            println!("{}", serde_json::to_string_pretty(&image)?)
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Pulls with a line that tells how far it is, on a terminal.
async fn pull(images: &Images, reference: &Reference) -> Result<Image, ImageError> {
    let line = ProgressBar::new_spinner();
    let name = reference.to_string();
    line.set_message(format!("{name}: asking the registry"));
    let told = |step| {
        if let Step::Received { done, total } = step {
            line.set_message(format!(
                "{name}: {} of {}",
                summary::bytes(done),
                summary::bytes(total)
            ));
            line.tick();
        }
    };
    let pulled = images.pull(reference, told).await;
    line.finish_and_clear();
    pulled
}

/// One line per name; an image without a name gets one too.
fn list(images: &[Image]) {
    println!("{:<60} {:<14} {:>10}", "IMAGE", "ID", "SIZE");
    let none = ["<none>".to_owned()];
    for image in images {
        let id = image.id.to_string();
        let short = id.trim_start_matches("sha256:").get(..12).unwrap_or(&id);
        let names = if image.references.is_empty() {
            &none[..]
        } else {
            &image.references
        };
        for name in names {
            println!("{name:<60} {short:<14} {:>10}", summary::bytes(image.size));
        }
    }
}
