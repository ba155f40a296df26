//! Makes the messages of the contract, without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let contract = protox::compile(["tenantry/participant/v1/participant.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(contract)?;
    Ok(())
}
