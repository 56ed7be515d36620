//! Manifests that the fuzzer makes up: none makes the parser panic, every error has a place, and a Pod that is accepted
//! parses to itself when it is written out.

#![no_main]

use carob_core::encode;
use carob_core::parse::parse_manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let parse = |text: &[u8]| parse_manifest(text, "fuzz", &mut || "uid".to_owned());
    match parse(input) {
        Ok(manifest) => {
            for pod in &manifest.pods {
                let text = encode::object(pod).to_string();
                let again = parse(text.as_bytes()).expect("what was written out is accepted");
                assert_eq!(&again.pods[0], pod, "written out: {text}");
            }
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty());
            assert!(errors.errors.iter().all(|e| e.line >= 1 && e.column >= 1));
        }
    }
});
