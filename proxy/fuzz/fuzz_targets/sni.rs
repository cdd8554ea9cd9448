//! Server names of any kind: no panic, and a mesh name has one spelling only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proxy::hello::Name;
use proxy::sni::parse_mesh_name;

fuzz_target!(|raw: &[u8]| {
    if let Ok(text) = std::str::from_utf8(raw)
        && let Some(mesh) = parse_mesh_name(text)
    {
        assert_eq!(mesh.to_string(), text);
    }
    if let Ok(name) = Name::new(raw) {
        // Normalising again changes nothing, and only case and one dot were changed.
        assert_eq!(Name::new(name.as_str().as_bytes()).as_ref(), Ok(&name));
        let stripped = raw.strip_suffix(b".").unwrap_or(raw);
        assert!(name.as_str().as_bytes().eq_ignore_ascii_case(stripped));
        assert!(!name.as_str().is_empty());
    }
});
