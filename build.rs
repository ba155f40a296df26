//! Compiles `proto/` without a system protoc and emits the descriptor set that reflection serves.
use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;

const ROOTS: &[&str] = &[
    "tenantry/v1/tenant_registry.proto",
    "tenantry/v1/tiers.proto",
    "tenantry/v1/feature_flags.proto",
    "tenantry/v1/lifecycle.proto",
    "tenantry/v1/tenant_health.proto",
    "tenantry/participant/v1/participant.proto",
    "tenantry/stub/v1/stub.proto",
    "flagd/evaluation/v1/evaluation.proto",
    "flagd/evaluation/v2/evaluation.proto",
    "flagd/sync/v1/sync.proto",
    // Nothing imports them, but answers in JSON show what is in an error's details.
    "google/rpc/error_details.proto",
];

/// Contracts of others that we call and do not serve.
const FOREIGN: &[&str] = &["qdrant/qdrant.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(ROOTS)?;
    // The encoded form keeps our own options (tenantry.v1.access), which prost-types' structs would drop.
    let encoded = compiler.encode_file_descriptor_set();
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
    fs::write(out.join("descriptor_set.bin"), &encoded)?;
    fs::write(out.join("addressed.rs"), addressed(&encoded)?)?;
    let set = prost_reflect::prost_types::FileDescriptorSet::decode(encoded.as_slice())?;
    generate(set)?;
    let mut foreign = protox::Compiler::new(["proto"])?;
    foreign.include_imports(true).open_files(FOREIGN)?;
    generate(foreign.file_descriptor_set())?;
    Ok(())
}

/// Clients, and servers: the tests serve what we call.
fn generate(set: prost_reflect::prost_types::FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    tonic_prost_build::configure().btree_map(".").build_client(true).build_server(true).compile_fds(set)?;
    Ok(())
}

/// An implementation of `proto::Addressed` for every request of our services, so that a new rpc's log lines name what it
/// is about without a word in its handler.
fn addressed(descriptor_set: &[u8]) -> Result<String, Box<dyn Error>> {
    let pool = prost_reflect::DescriptorPool::decode(descriptor_set)?;
    let ours = pool.services().filter(|service| service.parent_file().package_name() == "tenantry.v1");
    let requests: std::collections::BTreeMap<_, _> = ours
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .map(|method| (method.input().name().to_owned(), method.input()))
        .collect();
    let mut code = String::new();
    for (name, request) in requests {
        writeln!(code, "impl Addressed for v1::{name} {{")?;
        for id in ["tenant_id", "operation_id"] {
            let found = if request.get_field_by_name(id).is_some_and(|field| !field.is_list()) {
                format!("&self.{id}")
            } else if id == "tenant_id" && request.get_field_by_name("tenant").is_some() {
                "self.tenant.as_ref().map_or(\"\", |tenant| &tenant.tenant_id)".to_owned()
            } else {
                continue;
            };
            writeln!(code, "    fn {id}(&self) -> &str {{ {found} }}")?;
        }
        writeln!(code, "}}")?;
    }
    Ok(code)
}
