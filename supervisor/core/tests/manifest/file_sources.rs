//! Random references to ConfigMaps and Secrets, and volumes of files.

use carob_core::config::ObjectKind;
use carob_core::pod::{
    DownwardFile, DownwardValue, EnvFrom, FileForm, FileSource, FileVolume, KeyToPath, ObjectRef,
};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::pods::name;

pub fn object_ref() -> impl Strategy<Value = ObjectRef> {
    let kinds = vec![ObjectKind::ConfigMap, ObjectKind::Secret];
    (select(kinds), name(), any::<bool>()).prop_map(|(kind, name, optional)| ObjectRef {
        kind,
        name,
        optional,
    })
}

pub fn env_from() -> impl Strategy<Value = Vec<EnvFrom>> {
    let one = ("[A-Z_]{0,4}", object_ref()).prop_map(|(prefix, object)| EnvFrom { prefix, object });
    option::of(one).prop_map(Vec::from_iter)
}

fn mode() -> impl Strategy<Value = Option<u32>> {
    option::of(0..=0o777_u32)
}

fn keys(kind: ObjectKind) -> impl Strategy<Value = FileSource> {
    let item = (name(), mode()).prop_map(move |(key, mode)| KeyToPath {
        path: format!("d/{kind:?}/{key}"),
        key,
        mode,
    });
    let items = option::of(item).prop_map(Vec::from_iter);
    (object_ref(), items).prop_map(move |(object, items)| FileSource::Object {
        object: ObjectRef { kind, ..object },
        items,
    })
}

fn downward() -> impl Strategy<Value = FileSource> {
    let fields = vec![
        "metadata.labels",
        "metadata.annotations['a/b']",
        "metadata.uid",
    ];
    let file = (select(fields), mode()).prop_map(|(field, mode)| DownwardFile {
        path: "pod/field".into(),
        mode,
        value: DownwardValue::Field(field.into()),
    });
    option::of(file).prop_map(|file| FileSource::Downward(Vec::from_iter(file)))
}

pub fn files() -> impl Strategy<Value = FileVolume> {
    let one = |form| move |source| (form, vec![source]);
    let all = (
        keys(ObjectKind::ConfigMap),
        keys(ObjectKind::Secret),
        downward(),
    );
    let sources = prop_oneof![
        keys(ObjectKind::ConfigMap).prop_map(one(FileForm::ConfigMap)),
        keys(ObjectKind::Secret).prop_map(one(FileForm::Secret)),
        downward().prop_map(one(FileForm::DownwardApi)),
        all.prop_map(|(a, b, c)| (FileForm::Projected, vec![a, b, c])),
    ];
    (sources, 0..=0o777_u32).prop_map(|((form, sources), default_mode)| FileVolume {
        form,
        sources,
        default_mode,
    })
}
