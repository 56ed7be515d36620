//! `carob check`: what becomes of each field of a manifest, without touching anything.

use std::path::PathBuf;
use std::process::ExitCode;

use carob_core::parse::{FieldNote, Verdict};
use clap::Args;

use super::manifest;

/// What `carob check` is told.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A manifest with one or more Pods; - reads standard input
    file: PathBuf,
}

/// Lists each field as honoured, ignored or rejected; exit code 1 when the manifest would be refused.
///
/// # Errors
/// When the file can't be read.
pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let read = manifest::read(&args.file)?;
    let (report, found, errors) = match manifest::parse(&read)? {
        Ok(parsed) => (parsed.report.clone(), Some(parsed), None),
        Err(refused) => (refused.report.clone(), None, Some(refused)),
    };
    for note in &report {
        println!("{}", line(note));
    }
    for object in found.iter().flat_map(|manifest| &manifest.objects) {
        println!("{} can be used", object.id);
    }
    for pod in found.iter().flat_map(|manifest| &manifest.pods) {
        let meta = &pod.metadata;
        println!("Pod {}/{} can be run", meta.namespace, meta.name);
    }
    let Some(errors) = errors else {
        return Ok(ExitCode::SUCCESS);
    };
    eprintln!("{errors}");
    Ok(ExitCode::FAILURE)
}

fn line(note: &FieldNote) -> String {
    let FieldNote {
        line, column, path, ..
    } = note;
    match &note.verdict {
        Verdict::Honoured => format!("{line}:{column}: honoured  {path}"),
        Verdict::Warned(why) => format!("{line}:{column}: honoured  {path}: {why}"),
        Verdict::Ignored(why) => format!("{line}:{column}: ignored   {path}: {why}"),
        Verdict::Rejected => format!("{line}:{column}: rejected  {path}"),
    }
}
