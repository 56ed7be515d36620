//! The IDs of layers that lie upon each other, and the labels by which the garbage collector finds them.

use carob_bundles::image::contents::Contents;
use carob_bundles::image::digest::Digest;

use super::content::Labels;

/// The chain ID of an image.
pub fn chain_of(diff_ids: &[Digest]) -> String {
    diff_ids
        .iter()
        .fold(String::new(), |below, diff_id| chain(&below, diff_id))
}

/// The chain ID of a layer upon another one, or upon none.
pub(super) fn chain(below: &str, diff_id: &Digest) -> String {
    match below {
        "" => diff_id.to_string(),
        below => Digest::of(format!("{below} {diff_id}").as_bytes()).to_string(),
    }
}

/// The labels on an image's documents by which the garbage collector finds all else (containerd documentation,
/// "Garbage Collection").
pub(super) fn references(contents: &Contents, snapshotter: &str) -> Vec<Labels> {
    let content = |name: String, digest: &Digest| {
        (
            format!("containerd.io/gc.ref.content.{name}"),
            digest.to_string(),
        )
    };
    let mut labels: Vec<Labels> = contents
        .documents
        .windows(2)
        .map(|pair| Labels::from([content("m.0".to_owned(), &pair[1].0.digest)]))
        .collect();
    let layers = contents.layers.iter().enumerate();
    let mut manifest: Labels = layers
        .map(|(number, layer)| content(format!("l.{number}"), &layer.digest))
        .collect();
    manifest.extend([content("config".to_owned(), &contents.config_blob.digest)]);
    labels.push(manifest);
    // Of the configuration, the last.
    let chain = chain_of(&contents.diff_ids);
    labels.push(match chain.is_empty() {
        true => Labels::new(),
        false => Labels::from([(
            format!("containerd.io/gc.ref.snapshot.{snapshotter}"),
            chain,
        )]),
    });
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_those_of_the_specification() {
        let ids: Vec<Digest> = [b"a", b"b", b"c"].map(|bytes| Digest::of(bytes)).into();
        assert_eq!(chain_of(&[]), "");
        assert_eq!(chain_of(&ids[..1]), ids[0].to_string());
        let two = Digest::of(format!("{} {}", ids[0], ids[1]).as_bytes());
        assert_eq!(chain_of(&ids[..2]), two.to_string());
        let three = Digest::of(format!("{two} {}", ids[2]).as_bytes());
        assert_eq!(chain_of(&ids), three.to_string());
    }
}
