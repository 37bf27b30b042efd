//! Every shader on every road to a GPU: it parses, it is valid without any optional feature, and it translates to
//! Metal's language with all of its entry points. No GPU is needed.

use naga::back::msl;
use naga::front::wgsl;
use naga::valid::{Capabilities, ValidationFlags, Validator};

const PRODUCT: &str = include_str!("../src/backends/gpu/product.wgsl");
const BATCH: &str = include_str!("../src/frames/batch.wgsl");

fn validated(
    name: &str,
    source: &str,
    capabilities: Capabilities,
) -> (naga::Module, naga::valid::ModuleInfo) {
    let module =
        wgsl::parse_str(source).unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    let valid = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
    let info = valid.unwrap_or_else(|error| panic!("{name}: {}", error.emit_to_string(source)));
    (module, info)
}

/// Metal's text of a shader, with the bounds checks that wgpu asks for.
fn metal(module: &naga::Module, info: &naga::valid::ModuleInfo) -> String {
    let options = msl::Options {
        lang_version: (2, 4),
        fake_missing_bindings: true,
        zero_initialize_workgroup_memory: true,
        ..msl::Options::default()
    };
    let (text, translation) = msl::write_string(module, info, &options, &msl::PipelineOptions::default())
        .expect("Metal's language");
    let names: Vec<String> = translation.entry_point_names.into_iter().map(|name| name.unwrap()).collect();
    for name in &names {
        assert!(text.contains(&format!("kernel void {name}(")), "{name} is not in Metal's text");
    }
    text
}

#[test]
fn shaders_are_valid_everywhere_and_translate_to_metal() {
    let product = format!("alias real = f32;\n{PRODUCT}");
    for (name, source, stages) in [
        ("product.wgsl", product.as_str(), &["product"][..]),
        ("batch.wgsl", BATCH, &["classify", "scan_tiles", "scan_groups", "place", "reduce"]),
    ] {
        let (module, info) = validated(name, source, Capabilities::empty());
        let entry_points: Vec<&str> = module.entry_points.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(entry_points, stages, "{name}");
        assert!(metal(&module, &info).len() > source.len() / 2);
    }
}

#[test]
fn double_precision_needs_a_device_that_has_it() {
    let source = format!("alias real = f64;\n{PRODUCT}");
    validated("product.wgsl", &source, Capabilities::FLOAT64);
    let module = wgsl::parse_str(&source).unwrap();
    assert!(Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).is_err());
}
