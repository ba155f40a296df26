//! Compiles `proto/` without a system protoc and emits the descriptor set that reflection serves.
use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const ROOTS: &[&str] = &[
    "tenantry/v1/tenant_registry.proto",
    "tenantry/v1/tiers.proto",
    "tenantry/v1/feature_flags.proto",
    "tenantry/v1/lifecycle.proto",
    "tenantry/v1/tenant_health.proto",
    "tenantry/participant/v1/participant.proto",
    "tenantry/stub/v1/stub.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(ROOTS)?;
    // The encoded form keeps our own options (tenantry.v1.access), which prost-types' structs would drop.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    fs::write(out.join("descriptor_set.bin"), &encoded)?;
    let set = prost_reflect::prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    tonic_prost_build::configure().btree_map(".").build_client(true).build_server(true).compile_fds(set)?;
    Ok(())
}
